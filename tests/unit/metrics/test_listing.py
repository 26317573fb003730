"""Every file of `src/jmlr/metrics/` is a metric that `evaluate` takes, and says by its parameters of which questions."""

from __future__ import annotations

import pytest

from jmlr.metrics import FACTS, FIRST, Known, heading, metric, names, rows
from jmlr.runtime.variants import listed


def test_there_are_metrics_and_the_first_ones_are_among_them():
    assert len(listed("metrics")) >= 12
    assert names()[: len(FIRST)] == list(FIRST), "jmlr/metrics/__init__.py: FIRST names a metric that no file has"


@pytest.mark.parametrize("name", listed("metrics"))
def test_a_metric_holds_what_the_folder_asks_for(name):
    file, needed = metric(name)
    assert callable(getattr(file, name)), f"metrics/{name}.py: a function {name}"
    unknown = set(needed) - set(FACTS)
    assert not unknown, f"metrics/{name}.py: {sorted(unknown)}; allowed: {', '.join(FACTS)}"
    assert needed != ["k"]
    assert 0 < len(heading(name)) < 50, f"metrics/{name}.py: its docstring begins with 'Heading: what it is'"


def test_a_metric_is_taken_of_the_questions_of_which_all_is_known_that_it_takes():
    known = [
        Known("q1", "d", "test", {"ranked": ["a", "b"], "gold": {"b": 1}}),
        Known("q2", "d", "test", {"option": 1, "predicted": 1, "confidence": 0.75, "correct": 1.0}),
        Known("q3", "e", "test", {"texts": ["Give aspirin."], "answer": "aspirin"}),
        Known("q4", "d", "test", {"option": 1, "predicted": -1}),
    ]
    found = {
        (r.dataset, r.metric, r.k): (r.values, r.ids, r.round) for r in rows(known, 2, [1, 2]) if r.metric in FIRST
    }
    assert found == {
        ("d", "accuracy", ""): ([1.0, 0.0], ["q2", "q4"], 2),
        ("d", "unparsed", ""): ([0.0, 1.0], ["q2", "q4"], 2),
        ("d", "ece", ""): ([0.25], ["q2"], 2),  # one number of all that have a confidence
        ("d", "hit", 1): ([0.0], ["q1"], 2),
        ("d", "hit", 2): ([1.0], ["q1"], 2),
        ("d", "recall", 1): ([0.0], ["q1"], 2),
        ("d", "recall", 2): ([1.0], ["q1"], 2),
        ("d", "ndcg", 1): ([0.0], ["q1"], 2),
        ("d", "ndcg", 2): ([pytest.approx(0.63093, abs=1e-5)], ["q1"], 2),
        ("d", "mrr", ""): ([0.5], ["q1"], 2),
        ("e", "answer_hit", 1): ([1.0], ["q3"], 2),
        ("e", "answer_hit", 2): ([1.0], ["q3"], 2),
    }
    assert [r.whole for r in rows(known, 0) if r.metric in ("accuracy", "ece")] == [False, True]
