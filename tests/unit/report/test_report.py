import csv
import io
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from jmlr.options import ReportOptions
from jmlr.report.examples import changes
from jmlr.report.finding import sentences
from jmlr.report.load import read_run
from jmlr.report.pool import bootstrap, difference, pooled_rows
from jmlr.report.tables import results_csv, table_markdown, table_text
from jmlr.runtime.errors import UserError
from jmlr.stages.report import report

NUMBERS = re.compile(r"\d+\.\d")


def read(folders):
    run = read_run(**folders.arguments())
    return replace(run, pooled=pooled_rows(run))


def change_answers(folders, system, **columns):
    path = folders.base / system / "seed0/answer/answers.parquet"
    rows = pq.read_table(path).to_pylist()
    pq.write_table(type(pq.read_table(path)).from_pylist([{**r, **columns} for r in rows]), path)


def test_results_csv_holds_every_seed_and_the_pooled_rows(folders):
    rows = list(csv.DictReader(io.StringIO(results_csv(read(folders)))))
    accuracy = {(r["system"], r["seed"]): r for r in rows if r["metric"] == "accuracy"}
    assert accuracy.keys() == {(s, n) for s in ("closed_book", "rag", "jmlr") for n in ("0", "1", "all")}
    assert float(accuracy["jmlr", "all"]["value"]) == pytest.approx(34 / 40)
    low, high = (float(accuracy["jmlr", "all"][end]) for end in ("low", "high"))
    assert 0.7 < low < 34 / 40 < high < 0.97
    assert {r["round"] for r in rows if r["system"] == "jmlr" and r["metric"] == "hit"} == {"0", "1", "2"}


def test_the_printed_table_says_what_results_csv_says(folders):
    run = read(folders)
    rows = csv.DictReader(io.StringIO(results_csv(run)))
    wanted = {
        r["system"]: f"{100 * float(r['value']):.1f}" for r in rows if r["metric"] == "accuracy" and r["seed"] == "all"
    }
    for text in (table_text(run), table_markdown(run)):
        for name, title in (("closed_book", "Closed book"), ("rag", "RAG"), ("jmlr", "JMLR")):
            line = next(x for x in text.splitlines() if x.lstrip("| ").startswith(title))
            assert NUMBERS.findall(line)[0] == wanted[name]
    assert "10.0 -> 70.0" in table_text(run)


def test_the_page_stands_alone_and_shows_every_system(folders, tmp_path):
    report(tmp_path / "out", **folders.arguments(), options=ReportOptions(remark="Only a test."))
    page = (tmp_path / "out/report.html").read_text()
    assert re.findall(r"(?:src|href)=\"(?!#)([^\"]+)\"", page) == ["https://arxiv.org/abs/2402.17887"]
    assert "@import" not in page
    assert "url(http" not in page
    assert all(title in page for title in ("Closed book", "RAG", "JMLR", "Only a test."))
    assert page.count('<div class="panels') == 4
    assert page.count("<svg") == 9
    assert page.count("<details") == 3
    assert "&lt;b&gt;Text" in page
    assert "<b>Text" not in page


def test_no_text_of_the_corpus_is_shown_where_no_example_is_wanted(folders, tmp_path):
    report(tmp_path / "out", **folders.arguments(), options=ReportOptions(examples=0))
    page = (tmp_path / "out/report.html").read_text()
    assert "Text 1" not in page
    assert "Question 1" not in page


def test_examples_are_the_first_that_changed_with_a_loss_among_them(folders):
    found = changes(read(folders), 3)
    old, new = (
        pq.read_table(folders.base / s / "seed0/answer/answers.parquet")["predicted"].to_pylist()
        for s in ("rag", "jmlr")
    )
    gained = [i for i in range(40) if new[i] == 1 != old[i]]
    lost = [i for i in range(40) if old[i] == 1 != new[i]]
    assert (found.gained, found.lost) == (len(gained), len(lost))
    assert found.same == 40 - len(gained) - len(lost)
    shown = [*gained[: 3 - bool(lost)], *lost[:1]]
    assert [e.question for e in found.examples] == [f"Question {i}?" for i in shown]
    assert found.examples[0].after.passages[0].gold
    assert not found.examples[0].before.passages[0].gold


def test_the_finding_claims_a_gain_that_the_interval_supports_and_no_other(folders):
    run = read(folders)
    said = " ".join(sentences(run))
    assert "joint training gained 45.0 points" in said
    assert "7.0 times as many" in said
    same = difference(run, "rag", "rag", "made", "test")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    for seed in (0, 1):
        for kind, file in (("answer", "answers.parquet"), ("evaluate", "metrics.csv")):
            source = (folders.base / f"rag/seed{seed}/{kind}/{file}").read_bytes()
            (folders.base / f"jmlr/seed{seed}/{kind}/{file}").write_bytes(source.replace(b",rag,", b",jmlr,"))
    said = " ".join(sentences(read(folders)))
    assert "cannot be told from zero" in said
    assert "gained" not in said


def test_the_bootstrap_covers_questions_and_seeds():
    import numpy as np

    rng = np.random.default_rng(0)
    seeds_differ = np.repeat(np.array([[0.1], [0.5], [0.9]]), 400, axis=1)
    questions_differ = np.repeat((rng.random(400) < 0.5).astype(float)[None], 3, axis=0)
    wide, narrow = bootstrap([seeds_differ]), bootstrap([questions_differ])
    assert wide.high - wide.low > 0.4
    assert 0.06 < narrow.high - narrow.low < 0.14  # 4 x sqrt(.25 / 400) = .1


def test_answers_of_another_system_are_refused(folders, tmp_path):
    change_answers(folders, "rag", predicted=1)
    with pytest.raises(UserError, match=r"rag/seed0/answer.*does not belong to.*rag/seed0/evaluate"):
        report(tmp_path / "out", **folders.arguments(), options=ReportOptions())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("rag/seed0/evaluate/metrics.csv", "a,b\n1,2\n", "columns must be run,system"),
        ("rag/seed0/answer/answers.parquet", "x", "not a whole Parquet file"),
        ("jmlr/seed1/r2/train/metrics.jsonl", "{}\n", r"metrics.jsonl:1: not a JSON object with a step"),
        ("jmlr/seed1/r2/train/manifest.json", "{", "not a stage's manifest"),
    ],
)
def test_a_damaged_file_is_named(folders, tmp_path, path, content, message):
    (folders.base / path).write_text(content)
    with pytest.raises(UserError, match=message):
        report(tmp_path / "out", **folders.arguments(), options=ReportOptions())
    assert not (tmp_path / "out").exists()


def test_a_run_without_joint_training_claims_nothing_about_it(folders, tmp_path):
    arguments = folders.arguments()
    for name in ("evaluations", "answers", "trainings"):
        arguments[name] = [p for p in arguments[name] if "jmlr" not in p.parts]
    report(tmp_path / "out", **arguments, options=ReportOptions())
    assert "nothing follows about joint training" in (tmp_path / "out/table.md").read_text()


def test_every_figure_of_several_seeds_has_the_interval_of_one_bootstrap_over_questions_and_seeds(folders):
    run = read(folders)
    pooled = {(r.system, r.round, r.metric, r.k): r for r in run.pooled}
    values = [run.values["jmlr", seed].of(2, "made", "test", "hit", 1) for seed in run.seeds]
    expected = bootstrap([np.array([[v[f"q{i}"] for i in range(40)] for v in values])])
    row = pooled["jmlr", 2, "hit", 1]
    assert (row.low, row.high) == (expected.low, expected.high)
    for row in (r for r in pooled.values() if r.k in (None, 1) and r.metric != "unparsed"):  # 0 everywhere: no interval
        assert row.low is not None
        assert row.low <= row.value <= row.high


def test_a_figure_that_seeds_have_of_different_questions_is_drawn_over_all_of_them():
    """Shares of cited passages: a question without a citation has none for that seed."""
    full, some = np.array([[1.0, 0.0, 1.0, 0.0]] * 2), np.array([[1.0, 0.0, 1.0, np.nan], [1.0, 0.0, np.nan, np.nan]])
    assert bootstrap([full]).value == 0.5
    found = bootstrap([some])
    assert found.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert 0 <= found.low < found.value < found.high <= 1
