"""In float32 and bfloat16 the fast step may err as much as its twin does in the same precision, both against float64, and no more.

What is compared is free of choices: whichever passages low precision would sample or read, these are scored, judged and read.
"""

import copy
from dataclasses import replace

import pytest
import torch

from jmlr.inference.passage_losses import passage_losses
from jmlr.inference.questions import reading_of
from jmlr.losses.llm_rank import llm_rank, scale
from jmlr.models.tensors import at_least_float32
from jmlr.runtime import devices
from jmlr.training.reference import answer_loss, score_one_by_one
from jmlr.training.step import read_and_answer, score_again, score_candidates
from toys import open_session, settings_of

MOST = 2.0  # times the twin's own error
FLOOR = torch.finfo(
    torch.float32
).eps  # of the true size: what storing a float32 costs; a twin that errs less was lucky
QUESTIONS = 4


@pytest.fixture(scope="module")
def session(tiny, candidates):
    return open_session(tiny, candidates)


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def fast(session, settings, batch):
    """Return scores [B, C], judged losses [B, C] and the adapter's gradient of loss_lm, by the fast step's parts."""
    columns = torch.arange(len(batch[0].candidates)).expand(len(batch), -1)
    with torch.no_grad():
        scores, _ = score_candidates(session.retriever, session.passages, batch, settings)
    losses = passage_losses(session.llm, session.passages, batch, columns, **settings.computing)
    best = [(q, q.candidates[:3]) for q in batch]
    read = [reading_of(session.passages, q, rows, rows, settings.llm_answer_tokens) for q, rows in best]
    session.llm.zero_grad(set_to_none=True)
    read_and_answer(session.llm, read, settings, None).backward()
    return scores, losses, gradient(session.llm)


def twin(session, settings, batch, precision):
    """Return the same, one text at a time."""
    session.llm.eval()
    with torch.no_grad(), autocast(precision):
        scores = torch.stack([torch.stack(score_one_by_one(session.retriever, session.passages, q)) for q in batch])
        losses = [
            [answer_loss(session.llm, session.passages, q, [row], settings) for row in q.candidates] for q in batch
        ]
    session.llm.train()
    session.llm.zero_grad(set_to_none=True)
    with autocast(precision):
        total = sum(answer_loss(session.llm, session.passages, q, q.candidates[:3], settings) for q in batch)
    (total / len(batch)).backward()
    return scores, torch.tensor(losses), gradient(session.llm)


def gradient(model):
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def rank_gradient(session, settings, batch, losses, precision, one_by_one):
    """Return the retriever's gradient of LLM-Rank over all candidates, for given losses [B, C]."""
    session.retriever.zero_grad(set_to_none=True)
    there = torch.ones(losses.shape, dtype=torch.bool)
    if one_by_one:
        with autocast(precision):
            raw = torch.stack([torch.stack(score_one_by_one(session.retriever, session.passages, q)) for q in batch])
        scaled = scale(at_least_float32(raw))
    else:
        columns = torch.arange(losses.shape[1]).expand(len(batch), -1)
        with torch.no_grad():
            scores, mask = score_candidates(session.retriever, session.passages, batch, settings)
        _, scaled = score_again(
            session.retriever,
            session.passages,
            batch,
            settings,
            scores=scores,
            mask=mask,
            columns=columns,
            picked=there,
        )
    llm_rank(scaled, losses, there).backward()
    return gradient(session.retriever)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fast_step_s_retriever_gradient_errs_no_more_than_its_twin_s_in_the_same_precision(
    session, monkeypatch, precision
):
    monkeypatch.setattr(devices, "has_bf16", lambda where: True)
    batch = [replace(q, candidates=q.candidates[:5], scores=q.scores[:5]) for q in session.questions[:QUESTIONS]]
    exact = copy.deepcopy(session)
    exact.retriever.double()
    losses = torch.rand(len(batch), 5, generator=torch.Generator().manual_seed(0))
    truth = rank_gradient(exact, settings_of(exact), batch, losses, "float32", True)
    ours = rank_gradient(session, settings_of(session, train_precision=precision), batch, losses, precision, False)
    theirs = rank_gradient(session, settings_of(session), batch, losses, precision, True)
    error, allowed = (x.sub(truth).norm().item() for x in (ours, theirs))
    scores, _ = score_candidates(exact.retriever, exact.passages, batch, settings_of(exact))
    # Scores are sums, off by some roundings, and lie close together here: scaling divides by what lies between them.
    rounding = 4 * FLOOR * (scores.amax(1) / (scores.amax(1) - scores.amin(1))).max().item()
    assert truth.norm() > 0
    assert error <= MOST * allowed + rounding * truth.norm().item(), (error, allowed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_fast_step_errs_no_more_than_its_twin_in_the_same_precision(session, monkeypatch, precision):
    monkeypatch.setattr(devices, "has_bf16", lambda where: True)  # CPUs without fast bfloat16 compute it too, slowly
    torch.manual_seed(0)
    for name, p in session.llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05)
    batch = [replace(q, candidates=q.candidates[:5], scores=q.scores[:5]) for q in session.questions[:QUESTIONS]]
    exact = copy.deepcopy(session)
    exact.llm.double()
    exact.retriever.double()
    truth = twin(exact, settings_of(exact), batch, "float32")
    ours = fast(session, settings_of(session, train_precision=precision), batch)
    theirs = twin(session, settings_of(session), batch, precision)
    for what, t, a, b in zip(("scores", "losses", "gradient"), truth, ours, theirs, strict=True):
        error, allowed = (x.double().sub(t).norm().item() for x in (a, b))
        assert t.norm() > 0
        assert error <= MOST * allowed + FLOOR * t.norm().item(), (what, error, allowed)
