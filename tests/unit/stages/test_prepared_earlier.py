"""A folder that an earlier version prepared gives the same bits; of this version's, no stage opens the whole table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jmlr.corpus import stored_passages
from jmlr.corpus.prompt import Prompter
from jmlr.inference.questions import read_questions
from jmlr.models.load import pretrained
from jmlr.options import AnswerOptions, EncodeOptions, IndexOptions, RetrievalOptions, SearchOptions
from jmlr.stages.answer import answer
from jmlr.stages.encode import encode
from jmlr.stages.index import index
from jmlr.stages.search import search
from jmlr.training.step import joint_step
from toys import open_session, relist, rewrite, settings_of, toy_reading


@pytest.fixture(scope="module")
def earlier(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny world's folder as an earlier version made it."""
    folder = tmp_path_factory.mktemp("earlier") / "prepare"
    shutil.copytree(tiny / "prepare", folder)
    (folder / stored_passages.NAME).unlink()
    table = pq.read_table(folder / "questions.parquet")
    rewrite(folder / "questions.parquet", table.drop_columns(["gold_rows"]))
    relist(folder, {stored_passages.NAME: None})
    return folder


def searched(prepared: Path, tiny: Path, root: Path, shards: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Encode, index and search; return the vectors of every shard, and the candidates."""
    options = {"prepared": prepared, "retriever": str(tiny / "retriever"), "options": EncodeOptions(), "retrieval": RetrievalOptions()}  # fmt: skip
    folders = [root / f"p{i}" for i in range(shards)]
    for number, folder in enumerate(folders):
        encode(folder, part="passages", shard=f"{number}/{shards}", **options)
    encode(root / "q", part="questions", **options)
    index(root / "index", IndexOptions(), folders)
    search(root / "search", prepared, SearchOptions(candidates=5), root / "index", root / "q")
    table = pq.read_table(root / "search/candidates.parquet").to_pydict()
    return [np.load(f / "vectors.npy") for f in folders], table


def test_an_earlier_folder_gives_the_same_vectors_and_candidates(tiny: Path, earlier: Path, tmp_path: Path):
    vectors, found = searched(tiny / "prepare", tiny, tmp_path / "now", 3)
    before, found_before = searched(earlier, tiny, tmp_path / "before", 3)
    assert len(vectors) == 3
    assert all(np.array_equal(a, b) for a, b in zip(vectors, before, strict=True))
    assert found == found_before
    names = pq.read_table(tiny / "prepare/passages.parquet")["id"].to_pylist()
    assert found["ids"] == [[names[row] for row in rows] for rows in found["passages"]]
    assert sum(map(len, vectors)) == len(names)


def test_gold_is_the_same_rows_whether_they_stand_with_the_questions_or_are_looked_for(tiny: Path, earlier: Path):
    from transformers import AutoTokenizer

    prompter = Prompter(pretrained(AutoTokenizer, str(tiny / "llm"), "tokenizer"), **toy_reading().model_dump(exclude={"llm_precision"}))  # fmt: skip
    told = {"split": "train", "query_options": False, "retriever_query_tokens": 64}
    now, before = (read_questions(folder, None, prompter, None, **told) for folder in (tiny / "prepare", earlier))
    assert [q.gold for q in now] == [q.gold for q in before]
    names = pq.read_table(tiny / "prepare/passages.parquet")["id"].to_pylist()
    asked = pq.read_table(tiny / "prepare/questions.parquet").to_pylist()
    assert [{names[row] for row in q.gold} for q in now] == [set(q["gold_ids"]) for q in asked if q["split"] == "train"]
    assert any(q.gold for q in now)


def test_no_stage_wants_the_whole_table_of_a_folder_that_has_rows(tiny: Path, candidates: Path, tmp_path: Path):
    """Fix: Take rows of `StoredPassages`: a whole table is some 1,000 bytes a passage in every process."""
    shutil.copytree(tiny / "prepare", tmp_path / "prepare")
    for name in ("llm", "retriever"):
        (tmp_path / name).symlink_to(tiny / name)
    (tmp_path / "prepare" / stored_passages.FORMER).unlink()
    searched(tmp_path / "prepare", tmp_path, tmp_path, 2)
    session = open_session(tmp_path, candidates)
    session.tell()
    batch, settings = session.questions[:2], settings_of(session)
    assert joint_step(session.llm, session.retriever, session.passages, batch, settings, 0, 0, True).loss_lm > 0
    told = {"llm": str(tmp_path / "llm"), "searches": [tmp_path / "search"], "passages": 2}
    answer(tmp_path / "answer", tmp_path / "prepare", AnswerOptions(), toy_reading(), **told)
    assert all(len(row) == 2 for row in pq.read_table(tmp_path / "answer/answers.parquet")["ids"].to_pylist())
