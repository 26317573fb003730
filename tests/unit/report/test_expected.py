"""Expected values as data, and verdicts beside them."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from jmlr.commands.config import read_config
from jmlr.report import expected
from jmlr.report.expected import Value, plain, read_expected
from jmlr.report.load import Row
from jmlr.report.pool import Estimate
from jmlr.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "config/expected").glob("*.yaml"))


def row(value, low=None, high=None):
    return Row("r", "jmlr", "all", 1, "MedQA", "test", "accuracy", None, value, low, high, 100)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (row(0.60, 0.55, 0.65), Value(0.64), "OK"),  # theirs in our interval
        (row(0.60, 0.59, 0.61), Value(0.64, 0.60, 0.68), "OK"),  # ours in their interval
        (row(0.60, 0.55, 0.65), Value(0.70, 0.64, 0.76), "OKISH"),  # the intervals overlap
        (row(0.60, 0.59, 0.61), Value(0.63), "OKISH"),  # three points apart
        (row(0.60, 0.59, 0.61), Value(0.64), "FAIL"),
        (row(0.70, 0.69, 0.71), Value(0.60, 0.59, 0.61), "FAIL"),  # better than expected is no replication either
        (row(0.60), Value(0.62), "OKISH"),
        (row(0.60), Value(0.70), "FAIL"),
    ],
)
def test_the_verdict_follows_its_definition(ours, theirs, verdict):
    assert expected.verdict(ours, theirs, 0.03) == verdict


@pytest.mark.parametrize(
    ("low", "value", "high", "theirs", "verdict"),
    [
        (0.01, 0.03, 0.05, 0.026, "OK"),
        (0.01, 0.02, 0.03, 0.05, "OKISH"),  # beyond zero on the same side, and not what is expected
        (-0.01, 0.02, 0.05, 0.026, "FAIL"),  # holds what is expected, and zero too: a null result
        (-0.05, -0.03, -0.01, 0.026, "FAIL"),
        (0.0, 0.0, 0.0, 0.026, "FAIL"),  # no question differs
    ],
)
def test_a_difference_replicates_only_where_its_interval_excludes_zero(low, value, high, theirs, verdict):
    assert expected.gap_verdict(Estimate(value, low, high), theirs) == verdict


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.26, "OK"), (0.32, "OK"), (0.1, "OKISH"), (0.9, "OKISH"), (1.1, "FAIL")]
)
def test_a_ratio_of_times_replicates_on_the_same_side_of_one(ours, verdict):
    assert expected.time_verdict(ours, 0.26) == verdict


def test_the_papers_differences_are_those_of_its_table():
    paper = read_expected(ROOT / "config/expected/paper-13b.yaml")
    [gap] = [g for g in paper.gaps if g.values]
    assert (gap.first, gap.second) == ("jmlr", "rag")
    for dataset, points in gap.values.items():
        levels = [paper.of("accuracy", s, dataset).value for s in ("jmlr", "rag")]
        assert levels[0] - levels[1] == pytest.approx(points, abs=1.1e-3)


def test_datasets_match_whatever_their_case_and_punctuation():
    assert plain("MMLU-Med") == plain("mmlu_med") == "mmlumed"


def test_the_papers_table_is_read_with_intervals_from_its_n():
    expected = read_expected(ROOT / "config/expected/paper-13b.yaml")
    value = expected.of("accuracy", "jmlr", "MedQA-USMLE")
    assert (value.value, value.n) == (0.625, 1273)
    assert (value.low, value.high) == (pytest.approx(0.598, abs=1e-3), pytest.approx(0.651, abs=1e-3))
    assert expected.of("accuracy", "jmlr", "amboss") == Value(0.812)
    means = {s: expected.of("accuracy", s, "all").value for s in expected.titles}
    parts = ("medqa_usmle", "amboss", "mmlu_medical", "medmcqa")
    for system, mean in means.items():  # the paper's average is that of its four columns, rounded
        assert sum(expected.of("accuracy", system, d).value for d in parts) / 4 == pytest.approx(mean, abs=1.1e-3), (
            system
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_committed_file_expects_values_of_every_dataset_and_of_systems_of_its_run(path):
    """Names that match nothing would silently give no verdict."""
    expected = read_expected(path)
    run = read_config(ROOT / "config" / ("config.yaml" if path.stem == "demo" else f"runs/{path.name}"))
    asked = {plain(q.dataset or q.source) for q in run.prepare.questions}
    cards = {plain(p.stem) for p in (ROOT / "config/datasets").glob("*.yaml")}
    known = {dataset for _, _, dataset in expected.values} - {"all"}
    assert run.run == path.stem
    assert asked <= known <= asked | cards
    assert {"rag", "jmlr"} <= set(run.systems) & set(expected.titles)


PAPER = ROOT / "config/expected/paper-13b.yaml"


def test_a_mean_is_expected_over_the_datasets_of_the_run_alone():
    public = {"medqa_usmle", "medmcqa", "mmlu_medical"}
    without = read_expected(PAPER).within({"accuracy": {*public, "all"}})
    assert without.of("accuracy", "jmlr", "all").value == pytest.approx((0.625 + 0.655 + 0.728) / 3)
    assert without.of("accuracy", "jmlr", "amboss") is None
    assert "amboss" in without.note
    whole = read_expected(PAPER).within({"accuracy": {*public, "amboss", "all"}})
    assert whole.of("accuracy", "jmlr", "all").value == 0.705
    assert whole.note == ""


def test_a_mean_has_as_many_questions_as_its_datasets_where_all_of_them_are_known():
    known = read_expected(PAPER).within({"accuracy": {"medqa_usmle", "medmcqa", "all"}})
    assert known.of("accuracy", "gpt4", "all").n == 1273 + 4183
    more = read_expected(PAPER).within({"accuracy": {"medqa_usmle", "medmcqa", "mmlu_medical", "amboss", "all"}})
    assert more.of("accuracy", "gpt4", "all").n is None
    assert more.of("accuracy", "gpt4", "medmcqa").n == 4183


def test_no_mean_is_expected_where_the_run_has_a_dataset_of_its_own():
    expected = read_expected(PAPER).within({"accuracy": {"medqa_usmle", "mine", "all"}})
    assert expected.of("accuracy", "jmlr", "all") is None
    assert expected.of("accuracy", "jmlr", "medqa_usmle") is not None
    assert expected.note == "no mean is expected, since nothing is known of mine"


def test_a_run_without_any_expected_dataset_is_told_so():
    expected = read_expected(PAPER).within({"accuracy": {"mine"}})
    assert expected.values == {}
    assert "none of the datasets with expected values is in this run (amboss, medmcqa" in expected.note


def test_the_demos_expected_values_are_those_of_its_committed_results():
    spec = importlib.util.spec_from_file_location("update", ROOT / "docs/demo/update.py")
    update = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update)
    written = (ROOT / "config/expected/demo.yaml").read_text()
    assert written == update.expected(ROOT / "docs/demo/results.csv"), "run docs/demo/update.py"
    rows = list(csv.DictReader((ROOT / "docs/demo/results.csv").open()))
    last = next(r for r in reversed(rows) if (r["system"], r["seed"], r["metric"]) == ("jmlr", "all", "accuracy"))
    assert read_expected(ROOT / "config/expected/demo.yaml").of(
        "accuracy", "jmlr", last["dataset"]
    ).value == pytest.approx(float(last["value"]), abs=1e-4)


def test_the_expected_values_and_tables_of_real_text_are_those_of_its_committed_results():
    """Fix: Run: python docs/real/update.py."""
    spec = importlib.util.spec_from_file_location("update_real", ROOT / "docs/real/update.py")
    update = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update)
    cfg = read_config(ROOT / "config/runs/openstax.yaml")
    seeds = {int(f.stem[4:]): update.read(f) for f in sorted((ROOT / "docs/real/outcomes").glob("seed*.csv"))}
    rows = update.results(cfg, seeds)
    assert {r["system"] for r in rows} == set(cfg.systems)
    assert (ROOT / "config/expected/openstax.yaml").read_text() == update.expected(rows)
    for page, whole in update.PAGES.items():
        assert update.markdown(cfg, rows, whole) in page.read_text(), page
    rows += update.means(cfg, seeds)
    with (ROOT / "docs/real/results.csv").open(newline="") as f:
        written = list(csv.DictReader(f))
    assert [r["value"] for r in written] == [str(r["value"]) for r in rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accuracy: {jmlr: {x: high}}", r"accuracy.jmlr.x: 'high'; allowed: a percentage"),
        ("accuracy: {jmlr: {x: {value: 1}}}", "allowed: a percentage, or {value, low, high}"),
        ("acuracy: {}", r"\['acuracy'\]; allowed: a mapping with source"),
        ("differences: [{of: jmlr, medqa: 1}]", r"differences\[0\].*allowed: \{of: SYSTEM, to: SYSTEM"),
        ("differences: [{of: jmlr, to: rag, medqa: high}]", r"differences\[0\].*allowed"),
        ("[]", "no mapping; allowed"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, said):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_expected(tmp_path / "e.yaml")


def test_a_missing_file_is_one_line_and_none_expects_nothing(tmp_path):
    with pytest.raises(UserError, match="--expected: there is no"):
        read_expected(tmp_path / "e.yaml")
    assert read_expected(None).values == {}
