"""A finished run of the tiny world, made by its stages in seconds: `jmlr`, trained for one round, and `plain`, the model as it is."""

from __future__ import annotations

from pathlib import Path

from jmlr.options import AnswerOptions, EncodeOptions, IndexOptions, SearchOptions
from jmlr.stages.answer import answer
from jmlr.stages.encode import encode
from jmlr.stages.index import index
from jmlr.stages.search import search
from jmlr.stages.train import train
from toys import toy_reading, toy_retrieval, toy_training

READING, RETRIEVAL = toy_reading(), toy_retrieval()


def searched(folder: Path, prepared: Path, retriever: str, candidates: int) -> Path:
    for part in ("passages", "questions"):
        encode(folder / "encode" / part, prepared, retriever, part, EncodeOptions(), RETRIEVAL)
    index(folder / "index", IndexOptions(), [folder / "encode/passages"])
    search(
        folder / "search", prepared, SearchOptions(candidates=candidates), folder / "index", folder / "encode/questions"
    )
    return folder / "search"


def small_run(tiny: Path, folder: Path, candidates: int = 5) -> Path:
    """Make the run in a folder."""
    (folder / "prepare").mkdir(parents=True)
    for file in (tiny / "prepare").iterdir():
        (folder / "prepare" / file.name).write_bytes(file.read_bytes())
    prepared, llm, own = folder / "prepare", str(tiny / "llm"), folder / "jmlr/seed0"
    before = searched(folder / "retriever/seed0/r0", prepared, str(tiny / "retriever"), candidates)
    options = toy_training(target="llm_rank", steps=2, batch=2, passages=2, samples=3)
    train(own / "r1/train", prepared, llm, 0, folder / "scratch", options, READING, RETRIEVAL,
          retriever=str(tiny / "retriever"), search=before)  # fmt: skip
    after = searched(own / "r1", prepared, str(own / "r1/train/retriever"), candidates)
    answer(
        own / "answer",
        prepared,
        AnswerOptions(),
        READING,
        llm,
        trained=[own / "r1/train"],
        searches=[before, after],
        passages=2,
    )
    answer(folder / "plain/seed0/answer", prepared, AnswerOptions(), READING, llm, searches=[before], passages=2)
    return folder
