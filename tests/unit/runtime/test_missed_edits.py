"""No edit that changes a result is missed: every function that a tiny run calls is changed, and the digest of its stage must change."""

from __future__ import annotations

import ast
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from edited import Edited
from jmlr.config import Config
from jmlr.options import AnswerOptions, EncodeOptions, IndexOptions, SearchOptions
from jmlr.runtime.digest import PACKAGE, RECORDS, chosen, parts_of
from jmlr.stages.answer import answer
from jmlr.stages.encode import encode
from jmlr.stages.index import index
from jmlr.stages.prepare import prepare
from jmlr.stages.search import search
from jmlr.stages.train import train
from toys import toy_reading, toy_retrieval, toy_training

pytestmark = pytest.mark.slow

# What tells kinds of retriever apart: its answer is one of the options that choose the code, and is compared itself.
KIND = re.compile(r"jmlr\.models\.kinds\.\w+:recognised ")

# Made before anything is traced: what checks options hands them over, and they are compared themselves.
TRAINING = toy_training(target="llm_rank", steps=2, batch=4, samples=4, passage_order="best_last")
READING, RETRIEVAL, ANSWERING, PREPARING = toy_reading(), toy_retrieval(), AnswerOptions(), Config.load({}).prepare
ENCODING, INDEXING, SEARCHING = EncodeOptions(), IndexOptions(storage="int8"), SearchOptions(candidates=4)


@contextmanager
def called() -> Iterator[set[CodeType]]:
    """Collect the code of all first-party functions that are called meanwhile, in any thread."""
    found: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            found.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def mutated(text: str, line: int) -> tuple[str, str]:
    """Return (the name at the top that a function stands in, the text with the function returning something else at once)."""
    tree = ast.parse(text)
    for top in tree.body:
        for node in ast.walk(top):
            if (
                isinstance(node, ast.FunctionDef)
                and min([node.lineno, *(d.lineno for d in node.decorator_list)]) == line
            ):
                node.body.insert(0, ast.parse("return NotImplemented").body[0])
                name = getattr(top, "name", "") if not isinstance(top, ast.Assign) else ""
                return name, ast.unparse(tree)
    return "", ""


def is_record(module: str, name: str) -> bool:
    return module in RECORDS or f"{module}:{name}" in RECORDS


def frame() -> set[str]:
    """Return what is reached from the frame around every stage, which writes the manifest and puts the folder in place."""
    own = [r for r in RECORDS if r.startswith("jmlr.runtime.manifest:") and not r.endswith(":")]
    return {n for r in own for n in Edited().reach(r, skip=lambda *_: False, compiled="")}


def run_train(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    train(out / "r1", tiny / "prepare", str(tiny / "llm"), 0, out / "s", TRAINING, READING, RETRIEVAL,
          retriever=str(tiny / "retriever"), search=found)  # fmt: skip
    return "train", chosen(TRAINING, retriever="dense")


def run_encode(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    encode(out / "p", tiny / "prepare", str(tiny / "retriever"), "passages", ENCODING, RETRIEVAL)
    return "encode", chosen(retriever="dense")


def run_search(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    search(out / "s", tiny / "prepare", SEARCHING, out / "i", out / "q")
    return "search", chosen(retriever="dense")


def run_index(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    index(out / "i", INDEXING, [out / "p"])
    return "index", chosen(retriever="dense")


def run_answer(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    answer(out / "a", tiny / "prepare", ANSWERING, READING, llm=str(tiny / "llm"), searches=[found], passages=2)
    return "answer", chosen(ANSWERING, endpoint=False)


def run_prepare(tiny: Path, found: Path, out: Path) -> tuple[str, dict[str, Any]]:
    prepare(out / "prepared", [tiny / "world"], PREPARING)
    return "prepare", {}


RUNS: list[Callable[[Path, Path, Path], tuple[str, dict[str, Any]]]] = [
    run_train, run_encode, run_index, run_search, run_answer, run_prepare
]  # fmt: skip


@pytest.fixture(scope="module")
def out(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the vectors that an index and a search read."""
    folder = tmp_path_factory.mktemp("runs")
    for part, name in (("passages", "p"), ("questions", "q")):
        encode(folder / name, tiny / "prepare", str(tiny / "retriever"), part, ENCODING, RETRIEVAL)
    index(folder / "i", INDEXING, [folder / "p"])
    return folder


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_changing_any_function_that_a_stage_calls_changes_its_digest(run, tiny, candidates, out):
    with called() as codes:
        stage, options = run(tiny, candidates, out)
    before = parts_of(stage, Edited(), options)
    missed, tried = set(), 0
    for code in codes:
        path = Path(code.co_filename)
        module = "jmlr." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        name, text = mutated(path.read_text(), code.co_firstlineno)
        if not text or is_record(module, name):
            continue
        tried += 1
        if parts_of(stage, Edited(module, text), options) == before:
            missed.add(f"{module}:{name} ({code.co_qualname})")
    assert tried > 10
    missed = {m for m in missed if m.partition(" ")[0] not in frame() and not KIND.match(m)}
    assert not sorted(missed), f"edits of these would not run '{stage}' again; see jmlr.runtime.digest"
