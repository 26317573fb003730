"""The table of metrics is what the formulas give for the answers and candidates, over the right questions."""

from __future__ import annotations

import csv
import json
import re
import shutil
from math import log2
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.metrics import FIRST
from jmlr.options import EvaluateOptions
from jmlr.runtime import trackers
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.evaluate import COLUMNS, evaluate

QUESTIONS = [
    # id, dataset, split, answer, gold
    ("m1", "mcq", "test", 0, ["a"]),
    ("m2", "mcq", "test", 1, ["b", "c"]),
    ("m3", "mcq", "test", 1, []),
    ("m4", "mcq", "train", 0, ["a"]),
    ("o1", "terms", "test", -1, ["d"]),
]
PREDICTED = {"m1": 0, "m2": -1, "m3": 0}
ROUNDS = [
    {"m1": "xa", "m2": "cb", "m3": "ab", "m4": "xy", "o1": "xy"},
    {"m1": "ax", "m2": "cb", "m3": "ab", "m4": "xy", "o1": "xd"},
]


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path.parent


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    ids, datasets, splits, answers, gold = map(list, zip(*QUESTIONS, strict=True))
    prepared = {"id": ids, "dataset": datasets, "split": splits, "answer": answers, "gold_ids": gold}
    answered = [q for q in QUESTIONS if q[0] in PREDICTED]
    searches = [
        write(
            tmp_path / f"r{n}/search/candidates.parquet", {"question_id": list(r), "ids": [list(v) for v in r.values()]}
        )
        for n, r in enumerate(ROUNDS)
    ]
    table = {
        "question_id": [q[0] for q in answered],
        "split": [q[2] for q in answered],
        "answer": [q[3] for q in answered],
        "predicted": [PREDICTED[q[0]] for q in answered],
    }
    return {
        "out": tmp_path / "out",
        "prepared": write(tmp_path / "prepare/questions.parquet", prepared),
        "answers": write(tmp_path / "answer/answers.parquet", table),
        "name": "r", "system": "jmlr", "seed": 0,
        "options": EvaluateOptions(retrieval_k=[1, 2, 5], bootstrap=200),
        "searches": searches,
    }  # fmt: skip


def rows(out: Path) -> dict[tuple[str, ...], tuple[float, int]]:
    with (out / "metrics.csv").open() as f:
        reader = csv.DictReader(f)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        found = list(reader)
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in found if r["metric"] != "ece")
    assert {(r["run"], r["system"], r["seed"]) for r in found} == {("r", "jmlr", "0")}
    return {
        tuple(r[c] for c in ("round", "dataset", "split", "metric", "k")): (float(r["value"]), int(r["n"]))
        for r in found
        if r["metric"] in FIRST  # a contributor's own come on top
    }


def test_every_number_is_its_formula_over_the_answered_split(given: dict[str, Any]) -> None:
    evaluate(**given)
    found = rows(given["out"])
    assert found["1", "mcq", "test", "accuracy", ""] == (pytest.approx(1 / 3, abs=1e-6), 3)
    assert found["1", "mcq", "test", "unparsed", ""] == (pytest.approx(1 / 3, abs=1e-6), 3)
    assert found["0", "mcq", "test", "hit", "1"] == (0.5, 2)
    assert found["1", "mcq", "test", "hit", "1"] == (1.0, 2)
    assert found["0", "mcq", "test", "recall", "1"] == (0.25, 2)
    assert found["0", "mcq", "test", "recall", "2"] == (1.0, 2)
    assert found["0", "mcq", "test", "mrr", ""] == (0.75, 2)
    assert found["0", "terms", "test", "mrr", ""] == (0.0, 1)
    assert found["1", "terms", "test", "mrr", ""] == (0.5, 1)
    assert found["1", "all", "test", "mrr", ""] == (0.75, 3)
    assert {key[2] for key in found} == {"test"}


def test_questions_without_an_answer_are_measured_for_what_was_found_with_its_grades(given: dict[str, Any]) -> None:
    schema = pq.read_schema(given["prepared"] / "questions.parquet").append(
        pa.field("gold_grades", pa.list_(pa.int32()))
    )
    questions = pq.read_table(given["prepared"] / "questions.parquet").to_pylist()
    graded = [{**q, "gold_grades": [2, 1][: len(q["gold_ids"])]} for q in questions]  # m2: b 2, c 1; o1 has no answer
    pq.write_table(pa.Table.from_pylist(graded, schema=schema), given["prepared"] / "questions.parquet")
    evaluate(**given)
    found = rows(given["out"])
    cb = (1 + 2 / log2(3)) / (2 + 1 / log2(3))
    assert found["0", "mcq", "test", "ndcg", "2"] == (pytest.approx((1 / log2(3) + cb) / 2, abs=1e-6), 2)
    assert found["1", "terms", "test", "ndcg", "2"] == (pytest.approx(1 / log2(3), abs=1e-6), 1)
    assert not any(key[1:4:2] == ("terms", "accuracy") for key in found)
    assert (given["out"] / "qrels.trec").read_text() == "1 0 a 2\n2 0 b 2\n2 0 c 1\n5 0 d 2\n"


def test_probabilities_give_a_calibration_error_over_the_parsed_answers(given: dict[str, Any]) -> None:
    path = given["answers"] / "answers.parquet"
    table = pq.read_table(path).append_column("probabilities", pa.array([[0.95, 0.05], [0.5, 0.5], [0.75, 0.25]]))
    pq.write_table(table, path)
    evaluate(**given)
    assert rows(given["out"])["1", "mcq", "test", "ece", ""] == (pytest.approx((0.05 + 0.75) / 2), 2)
    assert read_manifest(given["out"])["notes"]["unparsed"] == 1


def test_where_no_gold_is_known_the_answers_words_are_looked_for(given: dict[str, Any]) -> None:
    questions = pq.read_table(given["prepared"] / "questions.parquet").to_pylist()
    texts = {"m1": "malaria", "m2": "measles", "m3": "yes", "m4": "x", "o1": "y"}
    bare = [{**q, "gold_ids": [], "answer_text": texts[q["id"]]} for q in questions]
    schema = pq.read_schema(given["prepared"] / "questions.parquet").append(pa.field("answer_text", pa.string()))
    pq.write_table(pa.Table.from_pylist(bare, schema=schema), given["prepared"] / "questions.parquet")
    passages = {"a": "Malaria is treated.", "b": "Nothing.", "c": "Measles, too.", "x": "", "y": "", "d": ""}
    write(given["prepared"] / "passages.parquet", {"id": list(passages), "text": list(passages.values())})
    place = {name: row for row, name in enumerate(passages)}
    for search in given["searches"]:
        table = pq.read_table(search / "candidates.parquet")
        found = [[place[name] for name in ids] for ids in table["ids"].to_pylist()]
        pq.write_table(table.append_column("passages", pa.array(found)), search / "candidates.parquet")
    evaluate(**given)
    found = rows(given["out"])
    assert found["0", "mcq", "test", "answer_hit", "1"] == (0.5, 2)  # m2 by c; "yes" is not counted
    assert found["0", "mcq", "test", "answer_hit", "2"] == (1.0, 2)
    assert "mrr" not in {k[3] for k in found}


def test_rationales_are_measured_with_the_runs_own_terms(given: dict[str, Any]) -> None:
    questions = pq.read_table(given["prepared"] / "questions.parquet")
    questions = questions.append_column("explanation", pa.array(["Some title.", "Fokzum causes fever.", "", "", ""]))
    pq.write_table(
        questions.append_column("answer_text", pa.array(["", "", "", "", "fokzum"])),
        given["prepared"] / "questions.parquet",
    )
    write(given["prepared"] / "passages.parquet", {"id": ["a"], "text": [""], "title": ["Some title"]})
    path = given["answers"] / "answers.parquet"
    table = pq.read_table(path).append_column("rationale", pa.array(["", "Fokzum, so cough [P1] [P3].", ""]))
    pq.write_table(table.append_column("ids", pa.array([[], ["c", "x"], []], pa.list_(pa.string()))), path)
    evaluate(**given)
    found = rows(given["out"])
    assert found["1", "mcq", "test", "umls_f", ""] == (0.25, 2)  # m1: an empty rationale
    assert found["1", "mcq", "test", "citation_precision", ""] == (0.5, 1)
    assert found["1", "mcq", "test", "citation_grounded", ""] == (0.5, 1)


def test_open_questions_have_no_accuracy_and_one_dataset_has_no_mean(given: dict[str, Any]) -> None:
    evaluate(**given)
    found = rows(given["out"])
    assert [k[1] for k in found if k[3] == "accuracy"] == ["mcq"]
    # accuracy and unparsed; two rounds, seven numbers, two datasets and their mean; the change of two hits in one round
    assert len(found) == 2 + 2 * 7 * 3 + 2 * 3


def test_a_change_of_hits_is_paired_and_stands_at_later_rounds_only(given: dict[str, Any]) -> None:
    evaluate(**given)
    changes = {k: v for k, v in rows(given["out"]).items() if k[3] == "hit_change"}
    assert {k[0] for k in changes} == {"1"}
    assert changes["1", "mcq", "test", "hit_change", "1"] == (0.5, 2)
    assert changes["1", "terms", "test", "hit_change", "1"] == (0.0, 1)
    assert changes["1", "terms", "test", "hit_change", "2"] == (1.0, 1)
    with (given["out"] / "metrics.csv").open() as f:
        [row] = [r for r in csv.DictReader(f) if (r["dataset"], r["metric"], r["k"]) == ("mcq", "hit_change", "2")]
    assert (float(row["value"]), float(row["low"]), float(row["high"])) == (0.0, 0.0, 0.0)  # both questions: no change


def test_cut_offs_beyond_the_candidates_are_left_out_with_a_note(given: dict[str, Any], capsys: Any) -> None:
    evaluate(**given)
    assert {k[4] for k in rows(given["out"])} == {"", "1", "2"}
    assert read_manifest(given["out"])["notes"]["skipped_k"] == [5]
    assert "no hit or recall at k = 5: 2 candidates per question" in capsys.readouterr().err


def test_a_closed_book_has_accuracy_alone(given: dict[str, Any]) -> None:
    evaluate(**{**given, "searches": None})
    assert {(k[0], k[3]) for k in rows(given["out"])} == {("0", "accuracy"), ("0", "unparsed")}


def test_qrels_hold_the_gold_of_the_answered_split(given: dict[str, Any]) -> None:
    evaluate(**given)
    assert (given["out"] / "qrels.trec").read_text() == "1 0 a 1\n2 0 b 1\n2 0 c 1\n5 0 d 1\n"
    topics = [line.split("\t") for line in (given["out"] / "topics.tsv").read_text().splitlines()]
    assert topics == [[str(n), *q[:3]] for n, q in enumerate(QUESTIONS, 1)]


def test_the_same_input_gives_the_same_table(given: dict[str, Any]) -> None:
    evaluate(**given)
    first = (given["out"] / "metrics.csv").read_bytes()
    evaluate(**given)
    assert (given["out"] / "metrics.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question_id": ["m1", "m2", "zz"]}, "question 'zz' is not the one in --prepared"),
        ({"answer": [1, 1, 1]}, "question 'm1' is not the one in --prepared"),
        ({"question_id": [], "split": [], "answer": [], "predicted": []}, "no answers"),
    ],
)
def test_answers_of_other_questions_are_refused(given: dict[str, Any], change: dict[str, Any], said: str) -> None:
    path = given["answers"] / "answers.parquet"
    types = {"question_id": pa.string(), "split": pa.string(), "answer": pa.int32(), "predicted": pa.int32()}
    table = {**pq.read_table(path).to_pydict(), **change}
    pq.write_table(pa.table({k: pa.array(v, types[k]) for k, v in table.items()}), path)
    with pytest.raises(UserError, match=said):
        evaluate(**given)
    assert not given["out"].exists()


def test_candidates_of_other_questions_are_refused(given: dict[str, Any]) -> None:
    path = given["searches"][1] / "candidates.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(UserError, match="question 'm1' of --prepared has no candidates"):
        evaluate(**given)


def test_a_missing_input_is_one_line(given: dict[str, Any]) -> None:
    (given["answers"] / "answers.parquet").unlink()
    with pytest.raises(UserError, match=r"--answers: there is no '.*answers.parquet'"):
        evaluate(**given)


def test_the_values_behind_every_mean_are_kept_by_question(given: dict[str, Any]) -> None:
    evaluate(**given)
    means = rows(given["out"])
    kept = [r for r in pq.read_table(given["out"] / "per_question.parquet").to_pylist() if r["metric"] in FIRST]
    assert len(kept) == sum(key[1] != "all" for key in means)
    for r in kept:
        key = (str(r["round"]), r["dataset"], r["split"], r["metric"], str(r["k"] or ""))
        assert len(r["ids"]) == len(set(r["ids"])) == len(r["values"]) == means[key][1]
        assert sum(r["values"]) / len(r["values"]) == pytest.approx(means[key][0], abs=1e-6)


def test_boards_get_the_figures_of_the_table_with_n_and_interval_in_the_run_of_the_training(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(trackers, "check_installed", lambda asked: sent.append(asked))
    monkeypatch.setattr(trackers, "send_final", lambda *told: sent.extend([*told[:4], list(told[4])]))
    own = tmp_path / "results/r/jmlr/seed0"
    shutil.copytree(given["answers"], own / "answer")
    for number in (1, 2):
        (own / f"r{number}/train").mkdir(parents=True)
        told = {"outputs": {}, "notes": {"boards": {"wandb": f"w{number}"}}}
        (own / f"r{number}/train/manifest.json").write_text(json.dumps(told))
    evaluate(**{**given, "answers": own / "answer"}, wandb="project")
    asked, out, same, name, known, figures = sent
    assert asked == same == {"wandb": "project", "mlflow": ""}
    assert (out, name, known) == (given["out"], "evaluate jmlr seed 0", {"wandb": "w2"})
    shown = {(number, key): value for number, key, value in figures}
    names = {key for _, key in shown}
    assert all(
        re.fullmatch(r"[\w. :/-]+", key) for key in names
    )  # as MLflow has it, whose file store makes files of them
    assert not [(a, b) for a in names for b in names if b.startswith(f"{a}/")]
    for (number, dataset, split, metric, k), (value, n) in rows(given["out"]).items():
        key = f"{split}/{dataset}/{metric}" + (f"_at_{k}" if k else "")
        assert shown[int(number), key] == value
        assert shown[int(number), f"{key}_n"] == n
        assert metric == "ece" or shown[int(number), f"{key}_low"] <= value <= shown[int(number), f"{key}_high"]


def test_a_board_that_is_asked_for_and_not_installed_is_said_before_anything_is_measured(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--mlflow experiment: the package mlflow is not installed"):
        evaluate(**given, mlflow="experiment")
    assert not given["out"].exists()
