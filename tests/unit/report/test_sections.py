"""Significance, calibration, cost, judges and the LaTeX table, in the report of a small run."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_run import N

from jmlr.endpoints.client import Client
from jmlr.options import ReportOptions
from jmlr.report import cost, page, tables
from jmlr.report.calibration import calibrations
from jmlr.report.finding import sentences
from jmlr.report.load import read_run
from jmlr.report.page import _of
from jmlr.report.pool import pooled_rows
from jmlr.report.significance import pairs, significance_csv
from jmlr.runtime.errors import UserError
from jmlr.stages.report import report

EXPECTED = """
source: a test & more
accuracy:
  jmlr: {title: JMLR, made: 85.0}
  rag: {title: RAG, made: 90.0}
  gpt4: {title: "GPT-4 & co", made: 99.9}
hit:
  jmlr: {title: JMLR, made: {value: 10, low: 5, high: 15}}
"""


def read(folders):
    run = read_run(**folders.arguments())
    return replace(run, pooled=pooled_rows(run))


def change(folder, **more):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def made(folders, tmp_path, **more):
    report(tmp_path / "out", **{**folders.arguments(), "options": ReportOptions(), **more})
    return (tmp_path / "out/report.html").read_text()


def two_datasets(folders):
    """Make every second question one of a dataset 'other', and a mean over both."""
    for evaluation, answers in zip(folders.evaluations, folders.answers, strict=True):
        path = answers / "answers.parquet"
        rows = [{**r, "dataset": ("made", "other")[i % 2]} for i, r in enumerate(pq.read_table(path).to_pylist())]
        pq.write_table(pa.Table.from_pylist(rows), path)
        right = [float(r["predicted"] == r["answer"]) for r in rows]
        shares = {"made": sum(right[::2]) / 20, "other": sum(right[1::2]) / 20, "all": sum(right) / 40}
        with (evaluation / "metrics.csv").open() as f:
            head, *lines = [line for line in f if ",accuracy," in line or line.startswith("run,")]
        start = lines[0].split(",made,")[0]
        text = [f"{start},{d},test,accuracy,,{v},{v},{v},{20 + 20 * (d == 'all')}\n" for d, v in shares.items()]
        (evaluation / "metrics.csv").write_text(head + "".join(text))


def test_every_pair_is_tested_and_corrected(folders):
    found = pairs(read(folders))
    assert [(x.first.name, x.second.name) for x in found] == [
        ("rag", "closed_book"),
        ("jmlr", "closed_book"),
        ("jmlr", "rag"),
    ]
    best = found[1]
    assert best.estimate.value == pytest.approx(24 / 40)
    assert best.first_only - best.second_only == 24
    assert best.p_holm == pytest.approx(min(1, 3 * best.p))
    assert all(x.p <= x.p_holm <= 1 and x.p_mcnemar <= x.p_mcnemar_holm <= 1 for x in found)
    rows = list(csv.DictReader(io.StringIO(significance_csv(found))))
    assert [float(r["difference"]) for r in rows] == [pytest.approx(x.estimate.value, abs=1e-6) for x in found]


def test_expected_values_get_verdicts_and_others_stand_beside(folders, tmp_path):
    (tmp_path / "expected.yaml").write_text(EXPECTED)
    page = made(folders, tmp_path, expected=tmp_path / "expected.yaml")
    assert page.count('class="tag right">OK<') == 1  # JMLR's 85.0
    assert page.count('class="tag wrong">FAIL<') == 2  # RAG's accuracy, JMLR's hit
    assert "GPT-4 &amp; co, not run here" in page
    assert (
        "1 OK, 0 OKISH, 2 FAIL. FAIL: RAG, accuracy on made: 40.0 for 90.0; JMLR, hit@1 on made: 70.0 for 10.0"
        in " ".join((tmp_path / "out/table.txt").read_text().split())
    )
    tex = (tmp_path / "out/results.tex").read_text()
    assert r"JMLR & 85.0 {\scriptsize [" in tex
    assert r"GPT-4 \& co & 99.9 \\" in tex
    assert r"a test \& more" in tex


def test_a_system_that_was_not_run_has_the_n_of_its_source(folders, tmp_path):
    (tmp_path / "expected.yaml").write_text(EXPECTED.replace("accuracy:", "n: {made: 1273}\naccuracy:", 1))
    page = made(folders, tmp_path, expected=tmp_path / "expected.yaml")
    assert 'GPT-4 &amp; co, not run here</td><td class="n">–</td><td class="n">1273</td>' in page
    two_datasets(folders)
    (tmp_path / "expected.yaml").write_text(
        "n: {made: 1273}\naccuracy: {gpt4: {title: GPT-4, made: 74.7, other: 60, all: 67.4}}"
    )
    page = made(folders, tmp_path, expected=tmp_path / "expected.yaml")
    assert 'GPT-4, not run here</td><td class="n">–</td><td class="n">–</td><td class="n">67.4</td>' in page
    assert '<span class="low">n 1273</span></td><td class="n">60.0</td>' in page


def test_an_expected_difference_wants_an_interval_beyond_zero_and_a_null_result_fails(folders, tmp_path):
    (tmp_path / "expected.yaml").write_text(
        "source: the paper\ndifferences:\n"
        "  - {of: jmlr, to: rag, made: 45}\n"
        "  - {of: rag, to: closed_book, made: 15}\n"
        "  - {of: jmlr, to: closed_book, made: -60}\n"
        "  - {of: jmlr, to: rag, time: 2.0}\n"
        "  - {of: jmlr, to: nobody, made: 1}\n"
    )
    page = made(folders, tmp_path, expected=tmp_path / "expected.yaml")
    table = page.split("<h3>Expected differences</h3>")[1].split("</table>")[0]
    rows = [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in table.split("<tr>")[2:]]
    assert len(rows) == 4
    assert rows[0].startswith("JMLR RAG accuracy, points, made +45.0")
    assert [row.split()[-1] for row in rows] == ["OK", "FAIL", "FAIL", "OK"], rows  # the second: a null result
    assert rows[3].startswith("JMLR RAG time of training, ratio")
    assert "2 OK, 0 OKISH, 2 FAIL. FAIL: RAG less Closed book, accuracy on made: +15.0" in page


def test_the_expected_differences_are_computed_once_for_page_and_table(folders, tmp_path, monkeypatch):
    """Fix: Take `Beside`: each difference is a bootstrap of thousands of draws."""
    file, counted = tmp_path / "expected.yaml", []
    file.write_text("source: s\ndifferences:\n  - {of: jmlr, to: rag, made: 45}\n")
    apart = tables.apart
    monkeypatch.setattr(tables, "apart", lambda *given: counted.append(1) or apart(*given))
    page, line = made(folders, tmp_path, expected=file), "Beside the expected values (s): 1 OK"
    assert len(counted) == 1
    assert line in page
    assert line in (tmp_path / "out/table.txt").read_text()


def test_a_figure_stands_with_what_it_is_of(folders, tmp_path):
    """Fix: Ask what a metric is told: only what is told of rationales is one of rationales."""
    assert {_of(name) for name in ("accuracy", "ece")} == {"answers"}
    assert {_of(name) for name in ("mrr", "hit", "hit_change", "answer_hit")} == {"retrieval"}
    assert {_of(name) for name in ("umls_f", "citation_grounded", "citation_precision")} == {"rationales"}
    page.PLACED.discard("mrr")
    page.PLACED.discard("ece")
    try:
        for evaluation in folders.evaluations:
            path = evaluation / "metrics.csv"
            system, seed = evaluation.parts[-3], evaluation.parts[-2][4:]
            path.write_text(path.read_text() + f"small,{system},{seed},0,made,test,ece,,0.125,,,{N}\r\n")
        text = made(folders, tmp_path)
    finally:
        page.PLACED.update(("mrr", "ece"))
    assert "Other figures of the answers" in text
    assert '<h2 id="reasoning">' not in text


def test_where_only_hits_are_expected_the_table_of_systems_has_no_column_of_dashes(folders, tmp_path):
    (tmp_path / "expected.yaml").write_text("hit: {jmlr: {made: 70}}")
    page = made(folders, tmp_path, expected=tmp_path / "expected.yaml")
    assert page.count("expected, %") == 1  # of the other expected values
    assert page.count('class="tag right">OK<') == 1


def test_without_expected_values_no_verdict_is_given(folders, tmp_path):
    page = made(folders, tmp_path)
    assert not any(v in page for v in (">OK<", ">FAIL<", "OKISH"))


def test_calibration_is_that_of_the_stored_probabilities(folders):
    found = {c.system.name: c for c in calibrations(read(folders))}
    jmlr = found["jmlr"]  # right at .75 (68 of 80), wrong at .6 (12)
    assert [(b.n, b.accuracy) for b in jmlr.bins] == [(12, 0.0), (68, 1.0)]
    assert jmlr.ece == pytest.approx(0.15 * 0.6 + 0.85 * 0.25)
    assert jmlr.seeds == 2


def test_the_conventional_road_is_set_beside_joint_training(folders):
    models = {"llm": {"parameters": 1, "trained": 1, "tokens_forward": 0, "tokens_gradient": 10, "flops": 60}}
    for folder in folders.trainings:
        change(
            folder,
            models=models,
            energy={"cpu_joules": 5.0, "gpu_joules": None, "cpu_why": "", "gpu_why": "no NVIDIA driver"},
        )
    arguments = folders.arguments()
    arguments["systems"] = {k: dict(v) for k, v in arguments["systems"].items()}
    arguments["systems"]["closed_book"]["llm"] = "continued"
    for seed in (0, 1):
        folder = folders.base / f"continued/seed{seed}/pretrain"
        folder.mkdir(parents=True)
        source = folders.base / f"llm/seed{seed}/pretrain/manifest.json"
        (folder / "manifest.json").write_text(source.read_text())
        change(
            folder,
            options={"init": f"results/small/llm/seed{seed}/pretrain"},
            seconds=60.0,
            models={"llm": {**models["llm"], "flops": 300}},
        )
        arguments["costs"].append(folder)
    run = read_run(**arguments)
    run = replace(run, pooled=pooled_rows(run))
    road, ours = cost.of_system(run, run.system("closed_book")), cost.of_system(run, run.system("jmlr"))
    assert (road.continued.seconds, road.base.seconds) == (60.0, 12.0)  # the model it went on from is its base
    assert (road.adaptation.seconds, ours.adaptation.seconds) == (72.0, 24.0)
    assert (road.adaptation.flops, ours.adaptation.flops) == (360, 120)
    assert ours.training.joules == 10.0
    assert ours.base.joules is None
    said = " ".join(sentences(run))
    assert "takes 3.0 times the time and 3.0 times the FLOPs of JMLR" in said
    assert cost.why_no_energy(run) == ["older manifests do not hold it", "no NVIDIA driver"]


def test_tokens_flops_and_joules_of_stages_are_sums(folders, tmp_path):
    models = {
        "llm": {"parameters": 1, "trained": 1, "tokens_forward": 2_000_000, "tokens_gradient": 500_000, "flops": 4e12}
    }
    for folder in folders.trainings:
        change(folder, models=models)
    stage = next(c for c in cost.by_stage(read(folders)) if c.name == "train")
    assert (stage.tokens, stage.flops) == (8 * 2.5e6, 8 * 4e12)
    page = made(folders, tmp_path)
    assert "20.0 M" in page
    assert "32.0 T" in page
    assert "42,630" in page


def test_requests_tokens_and_price_of_servers_are_counted_by_system_and_stage(folders, tmp_path):
    figures = {"requests": 30, "cached": 10, "retries": 2, "tokens_in": 20_000, "tokens_out": 1_500, "cost": 0.75}
    assert figures.keys() == Client("http://127.0.0.1:9/v1", "m", cache=str(tmp_path)).figures.keys()
    for seed in (0, 1):  # RAG's answers were written behind a server
        endpoint = {"base_url": "https://host/v1", "model": "gpt-4", **figures, "requests": 30 + 2 * seed}
        change(folders.base / f"rag/seed{seed}/answer", notes={"unparsed": 0, "endpoint": endpoint})
    judge = folders.base / "judge"
    judge.mkdir()
    judges = {"far": {**figures, "tokens_in": 1_000_000, "cost": 1_200.5}, "near": {"requests": 60}, "unparsed": 0}
    manifest = json.loads((folders.prepared / "manifest.json").read_text())
    (judge / "manifest.json").write_text(json.dumps({**manifest, "stage": "judge", "notes": judges}))
    (judge / "summary.json").write_text(json.dumps({"rubric": "a", "judges": {}, "comparisons": [], "agreement": []}))

    arguments = folders.arguments()
    run = read_run(**{**arguments, "costs": [*arguments["costs"], judge]})
    systems = {c.system.name: c.all.asked for c in cost.by_system(run)}
    assert systems == {"closed_book": None, "rag": cost.Asked(31, 10, 20_000, 1_500, 0.75), "jmlr": None}
    stages = {c.name: c.asked for c in cost.by_stage(run)}
    assert stages["answer"] == cost.Asked(62, 20, 40_000, 3_000, 1.5)
    assert stages["judge"] == cost.Asked(30, 10, 1_000_000, 1_500, 1_200.5)
    assert stages["train"] is None

    page = made(folders, tmp_path, judge=judge)
    rows = re.findall(r"<tr><td>(?:<span[^>]*></span>)?(RAG|judges)</td>((?:<td class=\"n\">[^<]*</td>){5})</tr>", page)
    assert {name: re.findall(r">([^<]+)</td>", cells) for name, cells in rows} == {
        "RAG": ["31", "0.75", "20.0 k", "1.50 k", "10"],
        "judges": ["30", "1,200.50", "1.00 M", "1.50 k", "10"],
    }


def test_where_no_server_was_asked_the_page_says_nothing_of_requests(folders, tmp_path):
    assert "behind servers" not in made(folders, tmp_path)


def test_what_judges_found_is_shown(folders, tmp_path):
    folder = folders.base / "judge"
    folder.mkdir()
    change_from = json.loads((folders.prepared / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**change_from, "stage": "judge"}))
    summary = {
        "rubric": "ab" * 32, "judges": {"x": "model-x", "y": "model-y"},
        "comparisons": [{"judge": "x", "a": "jmlr", "b": "rag", "n": 40, "a_wins": 20, "b_wins": 5, "ties": 15, "unparsed": 0,
                         "order_dependent": 3, "preference": 0.6875, "low": 0.6, "high": 0.78},
                        {"judge": "y", "a": "jmlr", "b": "rag", "n": 40, "a_wins": 0, "b_wins": 0, "ties": 0, "unparsed": 40,
                         "order_dependent": 0, "preference": None, "low": None, "high": None}],
        "agreement": [{"judges": ["x", "y"], "a": "jmlr", "b": "rag", "n": 0, "observed": None, "kappa": None}],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    page = made(folders, tmp_path, judge=folder)
    assert "model-x" in page
    assert "<b>68.8</b>" in page
    assert "no verdict in common" in page
    (folder / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="not a summary of `judge`"):
        made(folders, tmp_path, judge=folder)


def test_what_professionals_preferred_is_shown(folders, tmp_path):
    row = {
        "ratings": 3,
        "first": 2,
        "both": 1,
        "neither": 0,
        "second": 0,
        "unsure": 4,
        "preference": 0.8333,
        "low": 0.5,
        "high": 1.0,
        "p_holm": 0.5,
    }
    rows = [{"criterion": "correctness", "alpha": 0.25, **row}, {"criterion": "evidence", "alpha": None, **row}]
    result = {
        "kit": "k",
        "systems": ["jmlr", "rag"],
        "reviewers": ["ann"],
        "absent": [],
        "questions": 3,
        "missing_ratings": 0,
        "comments": [],
    }
    file = tmp_path / "review.json"
    file.write_text(json.dumps({**result, "criteria": rows}))
    page = made(folders, tmp_path, options=ReportOptions(review=str(file)))
    assert "prefer JMLR, %" in page
    assert '<b>83.3</b> <span class="low">50.0–100.0</span>' in page
    assert page.count("<td>correctness</td>") == page.count("<td>evidence</td>") == 1
    assert "blinded" not in made(folders, tmp_path)
    file.write_text(json.dumps({**result, "criteria": [{"criterion": "x"}]}))
    with pytest.raises(UserError, match="not a result of `jmlr review merge`"):
        made(folders, tmp_path, options=ReportOptions(review=str(file)))
    with pytest.raises(UserError, match=r"there is no .*none\.json"):
        made(folders, tmp_path, options=ReportOptions(review=str(tmp_path / "none.json")))


def test_contamination_is_shown_or_said_not_to_have_been_examined(folders, tmp_path):
    assert "not examined" in made(folders, tmp_path)
    notes = json.loads((folders.prepared / "manifest.json").read_text())["notes"]
    looked = {"test_questions": {"checked_against": 1273, "too_short_for_passages": 7}}
    how = {"decontaminate": {"passage_ngram": 13, "question_ngram": 8}}
    change(folders.prepared, notes={**notes, **looked}, options=how)
    page = made(folders, tmp_path)
    assert "1,273, by n-grams of 13 words in passages and documents, 8 in other questions" in page
    assert "dropped: nothing" in page
    row = {"kind": "passage", "reason": "contains a test question", "test_dataset": "medqa"}
    rows = [row, row, {"kind": "question", "reason": "no answer", "test_dataset": ""}]
    pq.write_table(pa.Table.from_pylist(rows), folders.prepared / "dropped.parquet")
    page = made(folders, tmp_path)
    assert "passages dropped, contains a test question: 2 of medqa" in page
    assert "questions dropped, no answer: 1<" in page
    assert "not examined" not in page


def test_the_page_is_the_same_for_the_same_run(folders, tmp_path):
    first = made(folders, tmp_path)
    assert made(folders, tmp_path) == first
    assert len(first) < 400_000
