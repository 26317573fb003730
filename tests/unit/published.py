"""Small made-up records in the forms that published sets have, and the two stages that read them, for the tests of cards."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jmlr.config import Config
from jmlr.stages.fetch import fetch
from jmlr.stages.prepare import prepare

OPTIONS = {"A": "Gentamicin", "B": "Ciprofloxacin", "C": "Ceftriaxone", "D": "Trimethoprim"}
MEDQA = {"question": "Which drug blocks it?", "answer": "Ceftriaxone", "options": OPTIONS, "meta_info": "step1", "answer_idx": "C"}  # fmt: skip
MEDMCQA = {"question": "Not true of glands?", "exp": None, "opa": "same", "opb": "&lt; 5 mm", "opc": "same", "opd": "x",
           "subject_name": "Anatomy", "topic_name": None, "id": "45258d3d", "choice_type": "multi"}  # fmt: skip
MMLU = {"question": "Where is it?", "subject": "anatomy", "choices": ["here", "there", "up", "down"], "answer": 3}
PUBMED = {"pubid": 21645374, "question": "Do mitochondria play a role?", "context": {"contexts": ["One.", "Two."], "labels": ["A", "B"]},
          "long_answer": "They do.", "final_decision": "yes"}  # fmt: skip
ORIGINAL_PUBMED = {"QUESTION": "Do mitochondria play a role?", "CONTEXTS": ["One.", "Two."], "LONG_ANSWER": "They do.", "final_decision": "maybe"}  # fmt: skip


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(r) + "\n" for r in rows)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return folder


def parquet(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


def archive(**members: str) -> str:
    """Return a tar archive of ASCII texts; `write` compresses it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name if "." in name else f"{name}.nxml")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue().decode()


def run(folder: Path, sources: dict[str, Any], *questions: dict[str, Any], corpora: Any = None, **more: Any) -> Config:
    """Fetch and prepare questions by their cards, with a corpus of one passage where none is given."""
    write(folder / "one", {"p.jsonl": lines({"id": "p", "text": "One passage."})})
    data = {
        "sources": {"one": {"path": str(folder / "one")}, **sources},
        "prepare": {
            "corpora": corpora or [{"source": "one"}],
            "questions": list(questions),
            "documents": [{"plain": True}],
            **more,
        },
        "answer": {"splits": []},  # only the data stages run here, whatever splits a set has
    }
    config = Config.load(data)
    for name in config.sources_read():
        fetch(folder / "fetch" / name, name, config.sources[name])
    prepare(folder / "prepare", [folder / "fetch" / n for n in config.sources_read()], config.prepare)
    return config


def asked(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "prepare/questions.parquet").to_pylist()


def read_gzip(path: Path) -> list[str]:
    """Return the lines of a gzipped text."""
    return gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")
