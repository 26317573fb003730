"""A copy of the checkout in a folder of its own, as a fresh clone is, in which tests run the workflow and edit what they like.

copy = Checkout(tmp_path / "clone")
copy.snakemake("--cores", "2", "--configfile", MINI)
assert copy.planned("--configfile", MINI) == {}
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINI = "tests/workflow/mini.yaml"
# Of an editable installation, which looks in the original checkout whatever PYTHONPATH says.
OWN_SOURCE = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'Redirecting' not in type(f).__name__]\n"
# What two runs need not share: figures of time, and what is written about a run rather than made by it.
NOT_COMPARED = ("manifest.json", ".snakemake_timestamp", "metrics.jsonl", "report.html", "table.txt", "table.md")


class Checkout:
    """A copy of the checkout; its own `src/jmlr` is what its commands import."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.extra = folder, dict[str, str]()
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
        hidden = (".venv", ".git", "results", "logs", "scratch", "build", ".snakemake")
        names = listed or [
            str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.relative_to(ROOT).parts[0] not in hidden
        ]
        for name in names:
            source, target = ROOT / name, folder / name
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        from jmlr.topk import _topk

        shutil.copy2(str(_topk.__file__), folder / "src/jmlr/topk")
        (folder / "build/site").mkdir(parents=True)
        (folder / "build/site/sitecustomize.py").write_text(OWN_SOURCE)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        path = f"{self.folder / 'build/site'}:{self.folder / 'src'}"
        binaries = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PYTHONPATH": path, "PATH": binaries, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        return {**os.environ, **own, **self.extra}

    def run(self, *command: str, timeout: float = 2400, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy."""
        return subprocess.run(
            command, cwd=self.folder, env={**self.environment, **environment}, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the mini workflow in the copy, on two cores unless the arguments say otherwise."""
        own = [] if {"--cores", "--profile"} & set(arguments) else ["--cores", "2"]
        config = [] if "--configfile" in arguments else ["--configfile", MINI]
        return self.run("snakemake", *own, *config, *arguments, **environment)

    def planned(self, *arguments: str, **environment: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run lists."""
        done = self.snakemake("--dry-run", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return jobs_of(done.stdout + done.stderr)


def jobs_of(text: str) -> dict[str, int]:
    """Read the jobs of each rule from Snakemake's table, without `all` and `total`."""
    if "Nothing to be done" in text:
        return {}
    section = text.split("Job stats:")[1].split("total")[0]
    found = {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", section, re.M)}
    found.pop("all", None)
    return found


def results(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a run made, by its path, but for what tells of the run itself."""
    files = [p for p in sorted((folder / "results").rglob("*")) if p.is_file() and p.name not in NOT_COMPARED]
    return {str(p.relative_to(folder)): hashlib.sha256(_content(p)).hexdigest() for p in files}


def _content(path: Path) -> bytes:
    """Return a file's bytes, but for what two libraries write there (modules in the order of a set, the way to the hub) and how
    often a model's state was saved, which its card tells."""
    if path.name == "README.md":
        return b"\n".join(line for line in path.read_bytes().split(b"\n") if b"`checkpoint_min`" not in line)
    if path.name not in ("adapter_config.json", "tokenizer_config.json"):
        return path.read_bytes()
    content = json.loads(path.read_text())
    content.pop("local_files_only", None)
    modules = content.get("target_modules")
    return json.dumps({**content, "target_modules": sorted(modules) if modules else modules}, sort_keys=True).encode()


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what a failed command said."""
    return (done.stdout + done.stderr)[-6000:]
