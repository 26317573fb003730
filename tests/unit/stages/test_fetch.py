"""Fetch brings files here whole and checked, or says in one line why it cannot."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jmlr.options import DemoOptions, SourceOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.runtime.preflight import files_of
from jmlr.stages import fetch as stage
from jmlr.stages.fetch import fetch

DATA = b'{"id": "a"}\n'
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jsonl", "sub/b.jsonl", "c.csv", ".hidden/d.jsonl", "manifest.json"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(DATA)
    return tmp_path / "raw"


def names(out: Path) -> list[str]:
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != "manifest.json")


def run(tmp_path: Path, **options: Any) -> Path:
    fetch(tmp_path / "out", "src", SourceOptions(**options))
    return tmp_path / "out"


def test_a_folder_is_copied_without_hidden_files_and_manifests(tmp_path: Path, folder: Path) -> None:
    out = run(tmp_path, path=str(folder))
    assert names(out) == ["a.jsonl", "c.csv", "sub/b.jsonl"]
    manifest = read_manifest(out)
    assert manifest["outputs"]["a.jsonl"] == DIGEST
    assert manifest["notes"] == {"source": "src", "files": 3, "bytes": 3 * len(DATA)}


def test_patterns_choose_files(tmp_path: Path, folder: Path) -> None:
    assert names(run(tmp_path, path=str(folder), files=["sub/*", "*.csv"])) == ["c.csv", "sub/b.jsonl"]


def test_linked_files_and_folders_are_copied_as_what_they_lead_to(tmp_path: Path, folder: Path) -> None:
    for name in ("far/deep/e.jsonl", "far/f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(DATA)
    (folder / "linked").symlink_to(tmp_path / "far")
    (folder / "again").symlink_to("linked")
    (folder / "g.jsonl").symlink_to(tmp_path / "far/deep/e.jsonl")
    out = run(tmp_path, path=str(folder))
    there = [f"{f}/{n}" for f in ("again", "linked") for n in ("deep/e.jsonl", "f.csv")]
    assert names(out) == sorted(["a.jsonl", "c.csv", "sub/b.jsonl", "g.jsonl", *there])
    assert not any(p.is_symlink() for p in out.rglob("*"))
    watched = [str(Path(f).relative_to(folder)) for f in files_of(str(folder))]
    assert watched == names(out), "what Snakemake watches is what is copied"
    chosen = files_of(str(folder), ["linked/*"])
    assert [str(Path(f).relative_to(folder)) for f in chosen] == ["linked/deep/e.jsonl", "linked/f.csv"]


@pytest.mark.parametrize(
    ("target", "said"),
    [("nowhere.jsonl", "'.*/sub/link' is a link to 'nowhere.jsonl', which is not there"),
     ("..", "'.*/sub/link' is a link to a folder that holds it")],
)  # fmt: skip
def test_a_link_that_leads_nowhere_or_in_a_circle_is_one_line(
    tmp_path: Path, folder: Path, target: str, said: str
) -> None:
    (folder / "sub/link").symlink_to(target)
    with pytest.raises(UserError, match=said) as caught:
        run(tmp_path, path=str(folder))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=said):
        files_of(str(folder))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


def test_a_file_is_copied_and_its_checksum_holds(tmp_path: Path, folder: Path) -> None:
    assert names(run(tmp_path, path=str(folder / "a.jsonl"), sha256={"a.jsonl": DIGEST.upper()})) == ["a.jsonl"]


def test_the_path_may_hold_environment_variables(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DATA", str(folder))
    assert names(run(tmp_path, path="${SOME_DATA}/a.jsonl")) == ["a.jsonl"]


def test_the_demo_world_is_generated(tmp_path: Path) -> None:
    out = run(tmp_path, origin="demo", demo=DemoOptions(train_entities=3, dev_entities=1, test_entities=1, documents=5))
    assert names(out) == ["documents.jsonl", "passages.jsonl", "questions.jsonl", "tokenizer.json"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "{raw}/a.json"}, "source 'src': there is no '.*a.json' .did you mean 'a.jsonl'"),
        ({"path": "{raw}/nowhere/a.jsonl"}, "there is no '.*nowhere/a.jsonl'"),
        ({"path": "{raw}/empty"}, "the folder '.*empty' has no files"),
        ({"path": "{raw}", "files": ["*.jsonl", "*.cvs"]}, "no file of '.*raw' matches '.*cvs' .did you mean 'c.csv'"),
        ({"path": "{raw}/a.jsonl", "files": ["b*"]}, "matches none of 'files': b"),
        ({"path": "{raw}/a.jsonl", "sha256": {"a.jsonl": "0" * 64}}, f"has the SHA-256 {DIGEST}, but 0+ is expected"),
        ({"path": "{raw}/a.jsonl", "sha256": {"a.json": DIGEST}}, "sha256: no file 'a.json' .did you mean 'a.jsonl'"),
        ({"path": "${{JMLR_UNSET}}/a"}, "source 'src': path .*: the environment variable JMLR_UNSET is not set"),
        ({"path": ""}, "origin 'local' needs a path"),
        ({"origin": "hub", "path": "x", "files": ["*"]}, "'files' chooses from a local folder"),
        ({"origin": "url", "path": "http://host/", "private": True}, "private, and origin 'url'; allowed: local"),
        ({"origin": "url", "path": "ftp://host/a.gz"}, "allowed: http.s.://"),
        ({"origin": "url", "path": "http://host/"}, "ends with the name of a file"),
        ({"origin": "url", "path": "http://host/%2e%2e"}, "ends with the name of a file"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_and_leaves_nothing(
    tmp_path: Path, folder: Path, options: dict[str, Any], said: str
) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=said) as caught:
        run(tmp_path, **{**options, "path": options["path"].format(raw=folder)})
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


# ------------------------------------------------------------------------------------------------------------ downloads
class Misbehaving(BaseHTTPRequestHandler):
    """Answers as the path says; counts requests."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        first = type(self).asked == 1
        status = 404 if "missing" in self.path else 503 if "busy" in self.path and first else 200
        self.send_response(status)
        if "chunks" in self.path:  # as archives come that are made while they are sent: nobody knows their length
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(DATA), DATA) + (b"7\r\ncut" if first else b"0\r\n\r\n"))
            return
        self.send_header("Content-Length", str(len(DATA) + (7 if "short" in self.path and first else 0)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(stage, "WAIT_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Misbehaving.asked = 0
    with HTTPServer(("127.0.0.1", 0), Misbehaving) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "requests"), [("a.jsonl", 1), ("busy.jsonl", 2), ("short.jsonl", 2), ("chunks.jsonl", 2)]
)
def test_a_download_is_whole_after_errors_that_pass(tmp_path: Path, server: str, name: str, requests: int) -> None:
    out = run(tmp_path, origin="url", path=f"{server}/{name}?x=1", sha256={name: DIGEST})
    assert (out / name).read_bytes() == DATA
    assert Misbehaving.asked == requests


def test_several_files_below_one_address(tmp_path: Path, server: str) -> None:
    out = run(tmp_path, origin="url", path=f"{server}/data/", files=["a.jsonl", "b.jsonl"])
    assert names(out) == ["a.jsonl", "b.jsonl"]


def test_files_of_one_name_below_one_address_keep_their_folders(tmp_path: Path, server: str) -> None:
    out = run(tmp_path, origin="url", path=server, files=["one/archive/x.tar.gz", "two/archive/x.tar.gz"])
    assert names(out) == ["one/archive/x.tar.gz", "two/archive/x.tar.gz"]
    for name in ("../x.gz", "/x/y.gz", "a/%2e%2e/%2e%2e/x.gz"):
        with pytest.raises(UserError, match="allowed: names below the address"):
            run(tmp_path, origin="url", path=server, files=[name])


def test_an_error_that_stays_is_not_tried_again(tmp_path: Path, server: str) -> None:
    with pytest.raises(UserError, match=r"missing.jsonl': HTTP Error 404"):
        run(tmp_path, origin="url", path=f"{server}/missing.jsonl")
    assert Misbehaving.asked == 1
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- datasets
def jmlr(tmp_path: Path, *arguments: str, offline: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, offline, with its cache apart."""
    cache = {"HF_HOME": str(tmp_path / "cache")}
    if offline:
        cache |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-m", "jmlr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **cache}, check=False)


def test_a_dataset_in_the_hubs_format_becomes_one_file_per_split(tmp_path: Path) -> None:
    rows = {"train": [{"id": 1, "text": "fièvre"}, {"id": 2, "text": "x"}], "test": [{"id": 3, "text": "y"}]}
    for split, members in rows.items():
        (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
        path = tmp_path / "set" / "data" / f"{split}-00000-of-00001.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in members))
    done = jmlr(
        tmp_path,
        "fetch",
        "--out",
        str(tmp_path / "out"),
        "--source",
        "s",
        "--origin",
        "hub",
        "--path",
        str(tmp_path / "set"),
    )
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["test.jsonl", "train.jsonl"]
    assert [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()] == rows["train"]
    assert "fièvre" in (tmp_path / "out" / "train.jsonl").read_text()
    assert read_manifest(tmp_path / "out")["notes"]["rows"] == {"test": 1, "train": 2}


def test_a_dataset_that_is_a_program_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted/scripted.py").write_text("raise SystemExit('run')\n")
    where = ("--source", "s", "--origin", "hub", "--path", str(tmp_path / "scripted"))
    done = jmlr(tmp_path, "fetch", "--out", str(tmp_path / "out"), *where)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [], done.stderr
    assert (
        "cannot be loaded: Dataset scripts are no longer supported, but found scripted.py; allowed: plain"
        in done.stderr
    )
    assert not (tmp_path / "out").exists()


CSV = "id,question,a,b,c,d,answer\n007,Which?,None,NA,null,nan,A\n008,When?,1,2.50,True,,C\n"
JSON = (
    '{"id": "007", "when": "2024-01-02", "at": "2024-01-02 10:00:00", "pmid": 12345678901234567890, "p": 0.123456789012345}\n'
    '{"id": "008", "when": "2024-01-03", "at": "2024-01-02 10:00:00", "pmid": 7, "p": 2, "options": {"A": "None"}}\n'
)


@pytest.mark.parametrize(
    ("file", "text", "rows"),
    [
        ("train.csv", CSV, [
            {"id": "007", "question": "Which?", "a": "None", "b": "NA", "c": "null", "d": "nan", "answer": "A"},
            {"id": "008", "question": "When?", "a": "1", "b": "2.50", "c": "True", "d": "", "answer": "C"}]),
        ("train.tsv", CSV.replace(",", "\t"), [
            {"id": "007", "question": "Which?", "a": "None", "b": "NA", "c": "null", "d": "nan", "answer": "A"},
            {"id": "008", "question": "When?", "a": "1", "b": "2.50", "c": "True", "d": "", "answer": "C"}]),
        ("train.jsonl", JSON, [json.loads(line) for line in JSON.splitlines()]),
        ("train.json", json.dumps([{"id": "01", "text": "2024-01-02"}]), [{"id": "01", "text": "2024-01-02"}]),
    ],
)  # fmt: skip
def test_the_hubs_text_files_keep_every_value_as_it_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, rows: list[dict[str, Any]]
) -> None:
    """The library's own builders make nothing of None, NA and null, the number 7 of 007, and 1704153600000 of 2024-01-02."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / file).write_text(text)
    out = run(tmp_path, origin="hub", path=str(tmp_path / "set"))
    assert [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()] == rows


def test_the_hubs_types_are_written_as_json_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    row = {"id": "007", "day": date(2024, 1, 2), "p": 0.123456789012345, "pmid": 2**62 + 1, "options": {"A": None, "B": "x"},
           "title": float("nan"), "picture": b"\xff", "scores": [1.0, float("nan")]}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "set/train-00000-of-00001.parquet")
    out = run(tmp_path, origin="hub", path=str(tmp_path / "set"))
    [line] = (out / "train.jsonl").read_text().splitlines()
    assert json.loads(line) == {**row, "day": "2024-01-02", "title": None, "picture": None, "scores": [1.0, None]}


class Gated(BaseHTTPRequestHandler):
    """Answers as the hub does where a dataset's terms were not accepted."""

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path.endswith("/auth-check") or "/resolve/" in self.path:
            self.answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to this dataset is restricted.")
        elif "/api/datasets/" in self.path:
            files = [{"rfilename": "train.jsonl"}, {"rfilename": "README.md"}]
            info = {
                "id": "some/notes",
                "sha": "0" * 40,
                "gated": "manual",
                "siblings": files,
                "tags": [],
                "private": False,
            }
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        else:
            self.answer(404, X_Error_Code="EntryNotFound")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


def test_a_licence_gated_dataset_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Gated) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            monkeypatch.setenv(name, "0")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{http.server_port}")
        where = ("--out", str(tmp_path / "out"), "--source", "s", "--origin", "hub", "--path", "some/notes")
        done = jmlr(tmp_path, "fetch", *where, "--revision", "main", offline=False)
        http.shutdown()
        thread.join()
    assert done.returncode == 2, done.stderr
    said = done.stderr.strip().splitlines()
    assert len(said) == 1, done.stderr
    assert "source 's': dataset 'some/notes' is licence-gated: accept its terms at https://huggingface.co/" in said[0]
    assert "HF_TOKEN" in said[0]
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    done = jmlr(
        tmp_path,
        "fetch",
        "--out",
        str(tmp_path / "out"),
        "--source",
        "s",
        "--origin",
        "hub",
        "--path",
        "nobody/nothing",
        "--revision",
        "v1",
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "source 's': dataset 'nobody/nothing', revision 'v1' cannot be loaded:" in done.stderr
    assert not (tmp_path / "out").exists()
