"""A run told in full: what it was made with, what it warned of, falls beside rises, and every question, but no private text."""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
import typing
from dataclasses import replace
from importlib import import_module

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written_run import N, manifest, metric_rows, values

from jmlr.metrics import write_values
from jmlr.options import Bm25Options, Closed, ReportOptions, TrainOptions
from jmlr.report.cautions import STAYS, cautions
from jmlr.report.finding import falls, sentences
from jmlr.report.load import COLUMNS, read_run
from jmlr.report.pool import lookup, pooled_rows
from jmlr.report.settings import HEADS, settings
from jmlr.report.significance import p_value, pairs, significance_csv
from jmlr.runtime.progress import forget_warnings, warned
from jmlr.stages import report as stage
from jmlr.stages.report import report
from jmlr.training.watch import WINDOW, Watch


def read(folders):
    run = read_run(**folders.arguments())
    return replace(run, pooled=pooled_rows(run))


def change(folder, **more):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def made(folders, tmp_path, **options):
    report(tmp_path / "out", **folders.arguments(), options=ReportOptions(**options))
    return (tmp_path / "out/report.html").read_text()


def retrieve(folders, hits):
    """Let JMLR's hit@1 be `hits`, by round, for both seeds."""
    for seed in (0, 1):
        folder = folders.base / f"jmlr/seed{seed}/evaluate"
        rows = [row for row in metric_rows("jmlr", seed) if row[6] not in ("hit", "mrr")]
        for n, hit in enumerate(hits):
            rows += [["small", "jmlr", seed, n, "made", "test", "hit", 1, hit, hit - 0.05, hit + 0.05, N]]
        kept = [value for value in values("jmlr", seed) if value[3] not in ("hit", "mrr")]
        ids = [f"q{i}" for i in range(N)]
        kept += [
            (n, "made", "test", "hit", 1, [float(i < hit * N) for i in range(N)], ids) for n, hit in enumerate(hits)
        ]
        with (folder / "metrics.csv").open("w", newline="") as f:
            csv.writer(f).writerows([COLUMNS, *rows])
        write_values(folder / "per_question.parquet", kept)


def answer_all(folders, system, option):
    """Let a system choose the same option for every question, in both seeds."""
    for seed in (0, 1):
        path = folders.base / f"{system}/seed{seed}/answer/answers.parquet"
        pq.write_table(
            pa.Table.from_pylist([{**r, "predicted": option} for r in pq.read_table(path).to_pylist()]), path
        )
        folder = folders.base / f"{system}/seed{seed}/evaluate"
        text = (folder / "metrics.csv").read_text().splitlines()
        line = ",".join(
            map(
                str,
                ["small", system, seed, 2 if system == "jmlr" else 0, "made", "test", "accuracy", "", *[option] * 3, N],
            )
        )
        (folder / "metrics.csv").write_text("\n".join(line if ",accuracy," in old else old for old in text) + "\n")
        whole = [(*v[:5], [float(option)] * N, v[6]) if v[3] == "accuracy" else v for v in values(system, seed)]
        write_values(folder / "per_question.parquet", whole)


# ------------------------------------------------------------------------------------------------------ falls, p-values
def test_a_fall_is_told_as_plainly_as_a_rise(folders):
    retrieve(folders, (0.75, 0.025, 0.0))
    said = " ".join(sentences(read(folders)))
    assert "for 75.0 % (" in said
    assert "after: a fall of 75.0 points" in said
    assert (
        "In round 1 the retriever of JMLR got worse: hit@1 fell from 75.0 % to 2.5 %, by 72.5 points (95 % interval"
        in said
    )
    assert "In round 2" not in said  # one question of forty may be chance
    assert any("In round 1" in c.text for c in cautions(read(folders)))
    retrieve(folders, (0.1, 0.5, 0.9))
    said = " ".join(sentences(read(folders)))
    assert "after: a rise of 80.0 points" in said
    assert "got worse" not in said


def test_what_is_the_same_on_every_question_is_no_finding(folders):
    answer_all(folders, "jmlr", 1)
    answer_all(folders, "rag", 0)
    run = read(folders)
    said = sentences(run)[0]
    assert "JMLR answers 100.0 % of 40 test questions right, RAG 0.0 %: " in said
    assert "100.0 points (the same on every question, which gives no interval), is not told as a finding" in said
    assert not re.search(r"gained|100\.0 to", " ".join(sentences(run)))
    rows = [r for r in run.pooled if (r.system, r.metric) == ("jmlr", "accuracy")]
    assert [(r.low, r.high) for r in rows] == [(None, None)]


def test_a_p_value_at_the_floor_of_the_bootstrap_is_a_bound(folders, tmp_path):
    found = pairs(read(folders))
    assert [x.at_floor for x in found] == [False, True, True]
    rows = list(csv.DictReader(io.StringIO(significance_csv(found))))
    assert [r["bound"] for r in rows] == ["=", "<=", "<="]
    assert p_value(found[2].p_holm, found[2].at_floor) == "≤ 0.003"
    assert made(folders, tmp_path).count("≤ 0.003") == 2


# --------------------------------------------------------------------------------------------------- settings, warnings
def test_the_defaults_that_a_report_compares_with_are_those_of_the_stages_signatures():
    for name, kinds in stage.OPTIONS.items():
        function = getattr(import_module(f"jmlr.stages.{name}"), name)
        hints = typing.get_type_hints(function)
        given = {
            hints[p]
            for p in inspect.signature(function).parameters
            if isinstance(hints[p], type) and issubclass(hints[p], Closed)
        }
        assert given == set(kinds) - {Bm25Options}, (
            name
        )  # which `index` takes as a mapping, as the configuration has it


def test_models_settings_and_what_differs_from_the_defaults_are_told(folders, tmp_path):
    usual = TrainOptions().model_dump(mode="json")
    for folder in folders.trainings:
        joint = "jmlr" in folder.parts
        rates = {
            "llm_learning_rate": 0.5,
            "retriever_learning_rate": 0.25 if joint else usual["retriever_learning_rate"],
        }
        change(folder, options={**usual, **rates}, notes={"llm": "org/some-llm", "retriever_origin": "/a/b/encoder"})
    for folder in folders.costs[1:]:
        origin = {"architecture": {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64}}
        change(
            folder,
            options=origin,
            models={"llm": {"size": 1_234_567, "tokens_forward": 0, "tokens_gradient": 0, "flops": 0}},
        )
    found = settings(read(folders), {"train": usual})
    llm, retriever = found.models
    assert (llm.origin, llm.size) == (
        "made from scratch, model_type llama, num_hidden_layers 2, hidden_size 64",
        1_234_567,
    )
    assert (retriever.origin, [s.title for s in retriever.systems]) == ("encoder", ["RAG", "JMLR"])
    told = [(d.where, d.option, d.value, d.default) for d in found.differences]
    assert told == [
        ("", "llm_learning_rate", "0.5", f"{usual['llm_learning_rate']:g}".replace("e-0", "e-")),
        ("JMLR", "retriever_learning_rate", "0.25", f"{usual['retriever_learning_rate']:g}".replace("e-0", "e-")),
    ]
    page = made(folders, tmp_path)
    assert all(
        text in page
        for text in (
            "made from scratch, model_type llama, num_hidden_layers 2, hidden_size 64",
            "1.23 M",
            "retriever_learning_rate",
        )
    )


def test_what_a_search_in_two_steps_found_is_told_once_and_not_for_each_of_its_shards(folders, tmp_path):
    assert settings(read(folders), {}).searches == []
    notes = {"recall": 0.9914, "interval": [0.9871, 0.9954], "candidates": 30, "sample": 200}
    shards = {"search-0-of-2": (1000, "0/2"), "search-1-of-2": (2000, "1/2"), "search": (3000, "0/1")}
    for name, (reranked, shard) in shards.items():
        folder = folders.base / "jmlr/seed0/r1" / name
        told = {**notes, "reranked": reranked, "passages": 1_000_000, "shard": shard}
        manifest(folder, "search", notes={"two_steps": told})
        folders.costs.append(folder)
    (said,) = settings(read(folders), {}).searches
    assert (
        said == "JMLR, round 1: 0.991 [0.987, 0.995] of the best 30, from 3,000 of 1,000,000 passages, on 200 questions"
    )
    assert "Searches in two steps found" in made(folders, tmp_path)


def test_a_system_that_chooses_one_option_nearly_always_is_told(folders):
    assert [c.text for c in cautions(read(folders)) if "chose option" in c.text] == []
    answer_all(folders, "rag", 0)
    told = [c.text for c in cautions(read(folders)) if "chose option" in c.text]
    assert len(told) == 2
    assert told[0].startswith("RAG, seed 0, chose option A for 40 of 40 test questions, of which it is right for 0: ")
    answer_all(folders, "rag", 1)  # right each time: no fault
    assert [c.text for c in cautions(read(folders)) if "chose option" in c.text] == []


def test_the_base_retriever_of_a_system_is_not_the_one_that_was_trained(folders):
    first, later = (f for f in folders.trainings if "jmlr" in f.parts and "seed0" in f.parts)
    change(later, notes={"retriever": "results/small/jmlr/seed0/r1/train/retriever", "retriever_origin": "org/base"})
    change(first, notes={"retriever": "org/base", "retriever_origin": "org/base"})
    run = read(folders)
    run.jobs.reverse()
    assert {m.origin for m in settings(run, {}).models if m.role == "retriever"} == {"org/base"}


def test_epochs_stand_where_no_steps_are_given(folders):
    arguments = folders.arguments()
    systems = {n: {**s, "train": {**s["train"], "steps": None, "epochs": 3.0}} for n, s in arguments["systems"].items()}
    run = read_run(**{**arguments, "systems": systems})
    cells = [dict(zip(HEADS, cells, strict=True)) for _, cells in settings(run, {}).trainings]
    assert [c["steps"] for c in cells] == ["3 epochs"] * 3


def test_a_round_that_answered_though_it_is_not_the_last_is_named(folders, tmp_path):
    assert "not the last retriever answered" not in made(folders, tmp_path)
    for folder, number in zip([f for f in folders.answers if "jmlr" in f.parts], (0, 1), strict=True):
        change(folder, notes={"round": number})
    run = read(folders)
    assert [run.answering(s) for s in run.systems] == [{}, {}, {0: 0, 1: 1}]
    told = (
        "the retriever before training with the language model after round 1 of 2 (seed 0) and that of round 1 with the "
        "language model after round 1 of 2 (seed 1)."
    )
    page = made(folders, tmp_path)
    assert f"JMLR: not the last retriever answered, but the best on the dev split: {told}" in page
    assert "fine-tuned with the same number of steps" not in page
    for folder in folders.answers:
        change(folder, notes={"round": 2} if "jmlr" in folder.parts else {})
    assert "not the last retriever answered" not in made(folders, tmp_path)


def test_warnings_of_all_jobs_are_told_once_with_where_they_came_from(folders, tmp_path):
    assert "No stage warned of anything" in made(folders, tmp_path)
    for i, folder in enumerate(f for f in folders.trainings if "jmlr" in f.parts):
        change(folder, warnings=[f"loss_rank has not fallen in {75 + i} steps"])
    change(folders.prepared, warnings=["3 questions are <odd>"])
    first, second = cautions(read(folders))
    assert (first.where, first.times) == ("train, JMLR, seeds 0, 1, rounds 1, 2", 4)
    assert (second.where, second.text) == ("prepare", "3 questions are <odd>")
    early = json.loads((folders.costs[0] / "manifest.json").read_text())
    (folders.costs[0] / "manifest.json").write_text(json.dumps({k: v for k, v in early.items() if k != "warnings"}))
    page = made(folders, tmp_path)
    assert '<a href="#warnings">2 warnings</a>' in page
    assert "3 questions are &lt;odd&gt;" in page
    assert "1 of the 24 jobs are of a time when warnings were not kept" in page


def test_a_change_has_one_interval_wherever_a_report_tells_it(folders):
    """The box and the warnings told the same rise with two intervals, of two bootstraps."""
    told = f"{STAYS} in 100 steps (0.693 to 0.693); raise retriever_learning_rate"
    for folder in (f for f in folders.trainings if "jmlr" in f.parts and "r2" in f.parts):
        change(folder, warnings=[told])
    retrieve(folders, (0.1, 0.3, 0.5))
    run = read(folders)
    hit = lookup(run, "jmlr", "hit", k=1)[2]
    run.pooled.append(replace(hit, metric="hit_change", value=0.4, low=0.3125, high=0.4875))
    [caution] = cautions(run)
    assert "+31.2 to +48.8" in caution.text
    assert "+31.2 to +48.8" in " ".join(sentences(run))
    retrieve(folders, (0.9, 0.5, 0.3))
    run = read(folders)
    hit = lookup(run, "jmlr", "hit", k=1)[1]
    run.pooled.append(replace(hit, metric="hit_change", value=-0.4, low=-0.4875, high=-0.3125))
    first, second = falls(run)
    assert "-48.8 to -31.2" in first
    assert "-48.8 to -31.2" not in second


def test_a_loss_that_stays_is_no_alarm_where_the_retriever_learned_beyond_chance(folders):
    """Fix: Say what was learned: with hit@1 up by 40 points the advice to raise the rate is wrong."""
    forget_warnings()
    watch = Watch("train", 4 * WINDOW)
    for _ in range(4 * WINDOW):
        watch.look({"loss_rank": 0.69})
    [told] = warned()
    assert told.startswith(f"{STAYS} in ")
    for folder in (f for f in folders.trainings if "jmlr" in f.parts and "r2" in f.parts):
        change(folder, warnings=[told])
    retrieve(folders, (0.1, 0.3, 0.5))
    [caution] = cautions(read(folders))
    assert "yet the retriever learned: hit@1 rose by 40.0 points (95 % interval of the difference +" in caution.text
    assert "from before training to after round 2" in caution.text
    assert "raise retriever_learning_rate" not in caution.text
    for flat in ((0.5, 0.3, 0.5), (0.5, 0.5, 0.525), (0.9, 0.6, 0.3)):
        retrieve(folders, flat)
        [caution] = [c for c in cautions(read(folders)) if c.where.startswith("train")]
        assert caution.text == told


def test_what_is_invented_and_that_nothing_is_for_clinical_use_stand_beside_the_headline(folders, tmp_path):
    head = made(folders, tmp_path).partition("</header>")[0]
    assert "Invented: none of this is medicine. Not for clinical use." in head
    assert "none of this is medicine" in (tmp_path / "out/table.txt").read_text()
    change(folders.costs[0], options={"origin": "local", "path": "mine"})
    head = made(folders, tmp_path).partition("</header>")[0]
    assert "Not for clinical use." in head
    assert "Invented" not in head


# ------------------------------------------------------------------------------------------------------------ questions
def asked(page):
    return json.loads(re.search(r'<script type="application/json" id="asked">(.*?)</script>', page, re.S)[1])


def test_every_question_stands_in_the_page_with_answers_and_the_place_of_its_gold_passage(folders, tmp_path):
    page = made(folders, tmp_path)
    found = asked(page)
    assert [q["text"] for q in found["questions"]] == [f"Question {i}?" for i in range(N)]
    assert [found["systems"][i]["title"] for i in found["pair"]] == ["RAG", "JMLR"]
    predicted = pq.read_table(folders.base / "jmlr/seed0/answer/answers.parquet")["predicted"].to_pylist()
    assert [q["answers"][2][0] for q in found["questions"]] == predicted
    first = found["questions"][0]
    assert found["passages"][first["answers"][2][2][0]][:1] == ["p0"]
    assert first["gold_passages"] == [first["answers"][2][2][0]]
    ranks = read(folders).values["jmlr", 0].of(2, "made", "test", "mrr", None)
    assert [q["places"][2][2] for q in found["questions"]] == [
        round(1 / ranks[f"q{i}"]) if ranks[f"q{i}"] else 0 for i in range(N)
    ]
    assert [len(p) for p in first["places"]] == [0, 1, 3]
    assert "<b>Text" not in page  # no text of the data is markup


def test_a_configuration_can_leave_the_questions_out(folders, tmp_path):
    assert 'id="asked"' not in made(folders, tmp_path, browse=False)
    page = made(folders, tmp_path, examples=0)
    assert 'id="asked"' not in page
    assert "Question 1" not in page


@pytest.mark.parametrize("told_by", ["fetch", "prepare"])
def test_no_text_of_a_private_run_stands_in_its_report_whatever_is_asked_for(folders, tmp_path, told_by):
    """The manifests say that it is private; the configuration is not believed."""
    if told_by == "fetch":
        change(folders.costs[0], options={"origin": "local", "path": "notes", "private": True})
    else:
        change(folders.prepared, notes={"private": True})
    made(folders, tmp_path, examples=3, browse=True)
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        assert not re.search(r"Question \d|Text \d", path.read_text()), path.name
    assert "a source of this run is private" in (tmp_path / "out/report.html").read_text()


def test_every_chart_says_what_its_marks_are_and_shares_are_in_percent(folders, tmp_path):
    for folder in folders.trainings:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        (folder / "metrics.jsonl").write_text("".join(json.dumps({**line, "hit": 0.5}) + "\n" for line in lines))
    charts = re.findall(r"<svg.*?</svg>", made(folders, tmp_path), re.S)
    assert len(charts) == 10
    for chart in charts:
        legend = (
            ("as right as sure",)
            if "ECE" in chart
            else ("95 % interval",)
            if ">accuracy, %<" in chart
            else ("JMLR", "RAG")
        )
        assert any(word in chart for word in legend)
        assert "gold passage first" not in chart or "gold passage first, %" in chart
