"""Teachers beside the LLM: gold labels and the answer's words, as the twin has them; what says nothing teaches nothing."""

from dataclasses import replace

import pytest
import torch

from jmlr.losses import listed
from jmlr.options import TrainOptions
from jmlr.runtime.errors import UserError
from jmlr.training.reference import reference_step
from jmlr.training.step import joint_step
from jmlr.training.teachers import marked, taught
from toys import open_session, settings_of


def told(session, n=4):
    """Return questions with 5 candidates, of which the third is gold; the second question has no gold passage at all."""
    return [
        replace(q, candidates=q.candidates[:5], scores=[0.1 * c for c in range(5)], gold=frozenset({q.candidates[2]} if i != 1 else ()))
        for i, q in enumerate(session.questions[:n])
    ]  # fmt: skip


def both(session, batch, settings):
    found = []
    for step in (joint_step, reference_step):
        for model in (session.llm.double().train(), session.retriever.double()):
            model.zero_grad(set_to_none=True)
        result = step(session.llm, session.retriever, session.passages, batch, settings, 0, 3, True)
        if result.loss_rank.requires_grad:
            result.loss_rank.backward()
        grads = [p.grad.clone() for p in session.retriever.parameters() if p.grad is not None]
        found.append((result.loss_lm.item(), result.loss_rank.item(), grads))
    return found


@pytest.mark.parametrize("prior", [0.0, 0.7])
@pytest.mark.parametrize("target", listed("losses"))
def test_gold_labels_teach_as_in_the_twin(tiny, candidates, target, prior):
    session = open_session(tiny, candidates, lora_dropout=0.0)
    settings = settings_of(session, teacher="gold", target=target, samples=5, prior_weight=prior)
    fast, twin = both(session, told(session), settings)
    assert fast[1] == pytest.approx(twin[1], rel=1e-9)
    assert fast[1] != 0
    assert len(fast[2]) == len(twin[2]) > 5
    for a, b in zip(fast[2], twin[2], strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("target", listed("losses"))
def test_questions_of_which_the_teacher_knows_nothing_teach_nothing(tiny, candidates, target):
    session = open_session(tiny, candidates, lora_dropout=0.0)
    settings = settings_of(session, teacher="gold", target=target, samples=5, prior_weight=0.7)
    batch = [replace(q, gold=frozenset()) for q in told(session)]
    (_, loss, grads), (_, twin, _) = both(session, batch, settings)
    assert loss == twin == 0
    assert all(not g.any() for g in grads)
    # beside others it weighs as a question of loss 0, however a batch is split
    whole = both(session, told(session), settings)[0][1]
    parts = [both(session, [q], settings)[0][1] for q in told(session)]
    assert whole == pytest.approx(sum(parts) / 4, rel=1e-9)


def test_the_llms_losses_are_neither_read_nor_needed(tiny, candidates, monkeypatch):
    session = open_session(tiny, candidates)
    monkeypatch.setattr("jmlr.training.teachers.passage_losses", lambda *a, **k: pytest.fail("the LLM read a passage"))
    result = joint_step(session.llm, session.retriever, session.passages, told(session),
                        settings_of(session, teacher="gold", target="pdist"), 0, 0, True)  # fmt: skip
    assert result.loss_rank.item() > 0


def test_the_answers_words_mark_the_passages_that_hold_them(tiny, candidates):
    session = open_session(tiny, candidates)
    question = session.questions[0]
    texts = session.passages.titles_and_texts(question.candidates)
    answer = " ".join(texts[1][1].split()[:6])
    question = replace(question, answer_text=answer)
    marks = marked(question, question.candidates, session.passages, "answer_text")
    assert marks[1] == 1.0
    assert marks == [float(answer.lower() in text.lower()) for _, text in texts]
    assert not any(marked(replace(question, answer_text="yes"), question.candidates, session.passages, "answer_text"))


def test_marks_that_are_alike_where_passages_are_say_nothing():
    losses = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False], [True, True, True]])
    assert taught(losses, mask, "gold").tolist() == [0]
    assert taught(losses, mask, "llm").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("teacher", "change"), [("gold", {"gold": frozenset()}), ("answer_text", {"answer_text": "no"})]
)
def test_a_teacher_who_knows_nothing_is_refused_before_the_first_step(tiny, candidates, teacher, change, monkeypatch):
    from jmlr.training import session as module

    read = module.read_questions
    monkeypatch.setattr(module, "read_questions", lambda *a, **k: [replace(q, **change) for q in read(*a, **k)])
    with pytest.raises(UserError, match=f"train.teacher {teacher}: no training question has"):
        open_session(tiny, candidates, target="pdist", teacher=teacher)


def test_a_frozen_retriever_has_no_teacher_and_plans_no_reading_for_one():
    assert TrainOptions(teacher="gold").used == TrainOptions()
    assert TrainOptions(teacher="gold", target="pdist").weighed_by == "gold labels (pdist)"
