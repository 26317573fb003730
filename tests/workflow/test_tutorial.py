"""docs/tutorial.md does what it says: its own commands, read from the page, one after the other in a fresh clone, with tiny models."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from checkout import ROOT, Checkout, failure

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    for line in block.replace("\\\n", " ").strip().splitlines()
]
MODELS = r"--llm \S+ --retriever \S+"  # on the hub, which a test does not ask


def small(command: str) -> str:
    """Return a command of the page with tiny models from scratch in place of those on the hub."""
    return re.sub(MODELS, "", command).replace(
        "--configfile mine.yaml", "--configfile mine.yaml tests/workflow/small.yaml"
    )


def test_the_tutorial_goes_from_nothing_to_an_answer() -> None:
    programs = [command.split()[0] for command in COMMANDS]
    verbs = [command.split()[1] for command in COMMANDS if command.startswith("jmlr")]
    assert verbs == ["init", "config", "ask", "serve"]
    assert programs.count("snakemake") == 4, "two rows, what a change makes run again, both once more, the whole"
    assert sum(bool(re.search(MODELS, command)) for command in COMMANDS) == 1
    assert COMMANDS[-1].startswith("curl ")
    assert COMMANDS[-2] == "jmlr serve results/mine"


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs(tmp_path: Path) -> None:
    copy = Checkout(tmp_path / "clone")
    overlay = copy.folder / "tests/workflow/small.yaml"
    overlay.write_text(overlay.read_text().replace("systems:\n", "systems:\n  rag: {title: RAG (retriever frozen)}\n"))
    said = dict[str, str]()
    for command in COMMANDS[:-2]:
        done = copy.run("bash", "-c", small(command))
        assert done.returncode == 0, f"{command}\n{failure(done)}"
        said[" ".join(command.split()[:2])] = done.stdout + done.stderr
    assert "fewer than ten questions in dev" in said["jmlr init"]
    assert "mine.yaml: a run 'mine' of" in said["jmlr config"]
    assert "closed_book" in said["grep -h"]
    assert "JMLR" in said["head -7"]
    assert re.search("dorfenac|ruvamide|kavipril|aminsolate", said["jmlr ask"])
    serve, curl = COMMANDS[-2:]
    with socket.socket() as free:  # 8765 may be taken where tests run
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    asked = ["bash", "-c", f"exec {serve} --port {port}"]
    with subprocess.Popen(asked, cwd=copy.folder, env=copy.environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            told = iter(server.stderr.readline, "")
            assert any("answers; Ctrl-C ends it" in line for line in told), "the server ended"
            found = copy.run("bash", "-c", curl.replace("8765", port)).stdout
        finally:
            server.send_signal(signal.SIGINT)
    assert "Gristal gout" in found
