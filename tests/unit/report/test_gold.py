"""Retrieval or reading: what the passages that were read did to the answers."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from test_sections import made, read
from written_run import RIGHT, SEEDS, N

from jmlr.report.gold import given_gold, moved, shared_compute


def test_accuracy_with_a_gold_passage_read_and_without_are_told_apart(folders):
    found = {x.system.name: x for x in given_gold(read(folders))}
    assert set(found) == {"rag", "jmlr"}  # who reads
    rag, jmlr = found["rag"], found["jmlr"]
    assert (rag.read, jmlr.read) == (0.0, 1.0)
    assert rag.with_gold is None
    assert jmlr.without is None
    assert rag.without.value == pytest.approx(RIGHT["rag"] / N)
    assert jmlr.with_gold.value == pytest.approx(RIGHT["jmlr"] / N)
    assert jmlr.with_gold.low < jmlr.with_gold.value < jmlr.with_gold.high


def test_a_question_whose_gold_passage_was_not_among_those_read_counts_on_the_other_side(folders):
    for answers in folders.answers:
        if "jmlr" in answers.parts:
            table = pq.read_table(answers / "answers.parquet").to_pylist()
            for row in table[: N // 4]:
                row["ids"] = ["elsewhere"]
            pq.write_table(pq.read_table(answers / "answers.parquet").from_pylist(table), answers / "answers.parquet")
    [jmlr] = [x for x in given_gold(read(folders)) if x.system.name == "jmlr"]
    assert jmlr.read == pytest.approx(0.75)
    both = 0.75 * jmlr.with_gold.value + 0.25 * jmlr.without.value
    assert both == pytest.approx(RIGHT["jmlr"] / N)


def test_answers_that_changed_are_counted_by_who_read_a_gold_passage_over_all_seeds(folders):
    kinds = moved(read(folders))
    assert [x.questions for x in kinds] == [0, N * len(SEEDS), 0, 0]
    only = kinds[1]
    assert only.kind == "only JMLR did"
    assert only.gained - only.lost == len(SEEDS) * (RIGHT["jmlr"] - RIGHT["rag"])
    assert only.both_right + only.lost == len(SEEDS) * RIGHT["rag"]


def test_equal_steps_and_equal_operations_are_told_by_name(folders):
    said = shared_compute(read(folders))
    assert any("JMLR" in line and "steps" in line for line in said)


def test_the_page_says_it_in_a_table_and_without_gold_nothing(folders, tmp_path):
    page = made(folders, tmp_path)
    assert '<a href="#gold">' in page
    assert "only JMLR did" in page
    file = folders.prepared / "questions.parquet"
    rows = [{**r, "gold_ids": [""][:0]} for r in pq.read_table(file).to_pylist()]
    pq.write_table(pq.read_table(file).from_pylist(rows, schema=pq.read_schema(file)), file)
    assert 'id="gold"' not in made(folders, tmp_path)
