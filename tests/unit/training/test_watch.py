"""Every early warning is said once, at the sign that it names, and not without it."""

from types import SimpleNamespace

import pytest

from jmlr.training.watch import WINDOW, Watch


def said(capsys, steps, cut=None, round=5 * WINDOW):
    watch = Watch("train", round)
    for figures in steps:
        watch.look(figures)
    watch.cut(
        SimpleNamespace(
            cut=cut or {}, llm_passage_tokens=64, llm_question_tokens=128, llm_answer_tokens=16, llm_tokens=512
        ),
        "in all",
    )
    out, err = capsys.readouterr()
    return [line for line in (out + err).splitlines() if "warning" in line]


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ([{"score_spread": 0.0}] * 3, "collapsed"),
        ([{"loss_spread": 1e-6}] * 3, "nothing to teach"),
        ([{"loss_rank": 0.69}] * (5 * WINDOW), "has not fallen"),
    ],
)
def test_a_sign_is_said_once_with_the_mend(capsys, steps, word):
    lines = said(capsys, steps)
    assert len(lines) == 1
    assert word in lines[0]


@pytest.mark.parametrize(("steps", "warned"), [(75, 1), (100, 1), (20, 0)])
def test_a_rank_loss_that_does_not_fall_is_said_in_short_rounds_too_but_not_in_the_shortest(capsys, steps, warned):
    assert len(said(capsys, [{"loss_rank": 0.69}] * steps, round=steps)) == warned


def test_a_healthy_training_is_not_warned_of(capsys):
    steps = [{"score_spread": 0.3, "loss_spread": 0.5, "loss_rank": 0.7 - 0.001 * i} for i in range(5 * WINDOW)]
    assert said(capsys, [*steps, {"score_spread": None, "loss_rank": None}], {"answers": 0}) == []


def test_cut_texts_are_counted_by_kind(capsys):
    (line,) = said(capsys, [], {"answers": 2, "passages": 0, "dropped_passages": 3})
    assert "2 answers at 16 (llm_answer_tokens), 3 dropped passages from prompts of 512" in line
