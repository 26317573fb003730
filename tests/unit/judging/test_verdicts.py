"""What a judge is shown and what it says."""

from __future__ import annotations

import pytest

from jmlr.judging.verdicts import Shown, combined, comparison, counts, parse_verdict, rubric, seen_as


def test_the_judge_sees_the_rubric_and_both_answers_without_names():
    first, second = Shown("Aspirin", "It thins the blood [P1].", ["Aspirin thins."]), Shown("", "", [])
    text = comparison("What thins?", "A. Aspirin\nB. Salt", "Aspirin", first, second)
    assert text.startswith(rubric())
    assert text.index("### Answer 1") < text.index("It thins the blood [P1].") < text.index("[P1] Aspirin thins.")
    assert text.index("[P1] Aspirin thins.") < text.index("### Answer 2") < text.index("(no option could be made out)")
    assert "The right answer: Aspirin" in text
    assert "The right answer" not in comparison("What thins?", "A. Aspirin", "", first, second)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Reasons.\nVerdict: 1", "1"), ("Verdict: 2", "2"), ("**Verdict: Tie**", "tie"), ("**Verdict:** 2.", "2"),
        ("Verdict: Answer 1", "1"), ("Verdict: 1\nVerdict: 1", "1"), ("Verdict: 1\nVerdict: 2", "unparsed"), ("1", "unparsed"),
        ("The verdict: 1 seems better", "unparsed"), ("Verdict: 3", "unparsed"), ("Verdict: 1 or 2", "unparsed"), ("", "unparsed"),
    ],
)  # fmt: skip
def test_a_verdict_is_one_line_or_unparsed(text, verdict):
    assert parse_verdict(text) == verdict


def test_places_become_systems_in_both_orders():
    assert [seen_as(v, False) for v in ("1", "2", "tie", "unparsed")] == ["a", "b", "tie", "unparsed"]
    assert [seen_as(v, True) for v in ("1", "2", "tie", "unparsed")] == ["b", "a", "tie", "unparsed"]


@pytest.mark.parametrize(
    ("forward", "backward", "verdict"),
    [
        ("a", "a", "a"), ("b", "b", "b"), ("a", "b", "tie"), ("a", "tie", "tie"), ("tie", "tie", "tie"),
        ("a", "unparsed", "unparsed"), ("unparsed", "unparsed", "unparsed"),
    ],
)  # fmt: skip
def test_a_preference_counts_only_where_both_orders_give_it(forward, backward, verdict):
    assert combined(forward, backward) == verdict


def test_counts_add_up():
    pairs = [("a", "a"), ("b", "b"), ("a", "b"), ("tie", "tie"), ("a", "unparsed")]
    rows = [{"forward": f, "backward": b, "verdict": combined(f, b)} for f, b in pairs]
    assert counts(rows) == {"n": 5, "a_wins": 1, "b_wins": 1, "ties": 2, "unparsed": 1, "order_dependent": 1}
