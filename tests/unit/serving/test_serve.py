"""`jmlr serve`: who may reach it, and what it says where it cannot begin."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from jmlr.__main__ import main
from jmlr.commands.serve import LOOPBACK, TOKEN, _rows
from jmlr.serving.app import application
from jmlr.serving.row import row_of

SECRET = "a token of many letters"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["serve", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_that_others_reach_wants_a_token(served_run: Path, capsys: Any, host: str) -> None:
    assert f"--host {host}: other machines would reach it; set {TOKEN}" in refused(
        capsys, str(served_run), "--host", host
    )


def test_a_short_token_is_none(served_run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "short")
    assert "5 characters; allowed: 16 or more" in refused(capsys, str(served_run))


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_there_cannot_be_is_refused_before_anything_is_loaded(
    served_run: Path, capsys: Any, port: str
) -> None:
    assert f"--port {port}; allowed: 0 to 65535" in refused(capsys, str(served_run), "--port", port)


@pytest.mark.parametrize("which", ["run", "beside"])
def test_a_private_source_is_never_served_to_another_machine(
    served_run: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    private = tmp_path / "results/private"
    shutil.copytree(served_run, private)
    (private / "fetch/notes").mkdir(parents=True)
    (private / "fetch/notes/manifest.json").write_text(json.dumps({"stage": "fetch", "options": {"private": True}}))
    given = [str(private)] if which == "run" else [str(served_run), "--beside", str(private)]
    said = refused(capsys, *given, "--host", "0.0.0.0")
    assert "holds texts of notes, which must not leave this machine (private); allowed: 127.0.0.1" in said


def test_what_is_wrong_is_one_line(served_run: Path, tmp_path: Path, capsys: Any) -> None:
    assert "did you mean 'jmlr'" in refused(capsys, str(served_run), "--systems", "jmrl")
    assert "RUN: there is no" in refused(capsys, str(tmp_path / "none")).replace("RUN:  there", "RUN: there")
    assert f"--beside: '{tmp_path}' is no run" in refused(capsys, str(served_run), "--beside", str(tmp_path))
    assert "--seed 7: no system of" in refused(capsys, str(served_run), "--seed", "7")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "give another --port, or 0" in refused(capsys, str(served_run), "--port", str(port))


def test_the_row_that_was_trained_answers_by_itself_unless_another_is_named(served_run: Path) -> None:
    assert list(_rows(served_run, [], 0)) == ["jmlr", "closed", "plain", "written"]
    assert list(_rows(served_run, ["plain", "jmlr"], 0)) == ["plain", "jmlr"]


def test_a_token_is_asked_for_everywhere(served_run: Path) -> None:
    app = application(served_run, {"jmlr": row_of(served_run, "jmlr", 0)}, "jmlr", token=SECRET)
    password = base64.b64encode(f"any:{SECRET}".encode()).decode()
    with TestClient(app) as http:
        for path in ("/", "/v1/models", "/static/serve.css", "/browse"):
            bare = http.get(path)
            assert bare.status_code == 401
            assert "Basic" in bare.headers["WWW-Authenticate"]
            for wrong in (f"Bearer {SECRET}x", "Bearer", "Basic %%%", "Basic " + base64.b64encode(b"x:y").decode()):
                assert http.get(path, headers={"Authorization": wrong}).status_code == 401
            for right in (f"Bearer {SECRET}", f"Basic {password}"):
                assert http.get(path, headers={"Authorization": right}).status_code == 200


def test_a_page_elsewhere_whose_name_leads_here_is_refused(served_run: Path) -> None:
    app = application(served_run, {"jmlr": row_of(served_run, "jmlr", 0)}, "jmlr", hosts=LOOPBACK)
    with TestClient(app) as http:
        for host, status in (
            ("127.0.0.1:8765", 200),
            ("localhost", 200),
            ("[::1]:80", 200),
            ("evil.example", 421),
            ("", 421),
        ):
            assert http.get("/v1/models", headers={"Host": host}).status_code == status, host


def test_a_real_server_answers_survives_a_client_that_hangs_up_and_says_nothing_of_questions(
    served_run: Path, asked: dict, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "jmlr", "serve", str(served_run), "--port", "0", "--systems", "jmlr", "written"]
    env = {**os.environ, "JMLR_WARM": "0", "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as server:
        assert server.stderr is not None
        said = [""]
        while "answers; Ctrl-C ends it" not in said[-1]:
            said.append(server.stderr.readline())
            assert said[-1], "".join(said)
        base = said[-1].split()[1]
        try:
            body = {"model": "jmlr", "messages": [{"role": "user", "content": asked["question"] + "\nA. x\nB. y"}]}
            begun = time.monotonic()
            opening = begun - started
            assert httpx2.post(f"{base}/v1/chat/completions", json=body, timeout=300).status_code == 200
            first = time.monotonic() - begun
            for n in range(5):  # they go as soon as they have asked
                with socket.create_connection(("127.0.0.1", int(base.rsplit(":", 1)[1]))) as gone:
                    text = json.dumps(body | {"stream": n % 2 == 0})
                    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                    gone.sendall((head + text[: len(text) - n % 3]).encode())
            assert httpx2.post(f"{base}/v1/chat/completions", json=body, timeout=300).status_code == 200
        finally:
            server.send_signal(signal.SIGINT)
            rest = server.stderr.read()
        assert server.wait(60) in (0, 130)
    assert first < opening / 4, "the row is opened and warm before the server says that it answers"
    assert asked["question"] not in "".join(said) + rest
    assert "Traceback" not in rest
