"""Packing and budgets of pre-training, and continued pre-training through the same stage."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from jmlr.config import Config
from jmlr.options import PretrainOptions
from jmlr.pretraining.llm import Document, _weights, one_step, pack, steps_for
from jmlr.runtime.devices import no_subnormals
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.pretrain import pretrain


def documents(*lengths):
    starts = np.cumsum([0, *lengths])
    return [
        Document(np.arange(a, a + n, dtype=np.int32), np.full(n, i, np.float32))
        for i, (a, n) in enumerate(zip(starts, lengths, strict=False))
    ]


def test_packing_keeps_every_token_and_its_weight_in_order():
    given = documents(3, 7, 1, 5)
    rows = pack(given, 4)
    assert [len(r.ids) for r in rows] == [4, 4, 4, 4]
    assert np.concatenate([r.ids for r in rows]).tolist() == list(range(16))
    assert np.concatenate([r.weights for r in rows]).tolist() == [0] * 3 + [1] * 7 + [2] + [3] * 5
    assert [len(r.ids) for r in pack(documents(3, 7), 4)] == [4, 4, 2]
    assert pack([], 4) == []


def test_a_budget_of_epochs_or_tokens_becomes_steps():
    rows = documents(*[8] * 100)
    assert steps_for(rows, 10, 7) == 7
    assert steps_for(rows, 10, 7, epochs=1) == 10
    assert steps_for(rows, 10, 7, epochs=0.5) == 5
    assert steps_for(rows, 10, 7, tokens=1600) == 20
    assert steps_for(rows, 1000, 7, tokens=1) == 1


def test_epochs_and_tokens_together_are_refused():
    with pytest.raises(ValueError, match="either 'epochs' or 'tokens'"):
        PretrainOptions(epochs=1, tokens=100)


def test_pre_training_is_continued_for_one_epoch_of_packed_rows(tiny, tmp_path):
    options = PretrainOptions(
        init=str(tiny / "llm"), pack=True, epochs=1, max_tokens=128, batch=8, learning_rate=1e-3, warmup_steps=2
    )
    pretrain(tmp_path / "out", tiny / "prepare", 0, options)
    notes = read_manifest(tmp_path / "out")["notes"]
    assert notes["documents_cut"] == 0
    assert notes["rows"] == -(-notes["tokens"] // 128)
    assert notes["steps"] == round(notes["rows"] / 8)
    before, after = (load_file(f / "model.safetensors") for f in (tiny / "llm", tmp_path / "out"))
    assert before.keys() == after.keys()
    assert not all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("by", ["kill", signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_pre_training_that_is_stopped_goes_on_to_the_same_bits(tiny, tmp_path, monkeypatch, request, by):
    import jmlr.pretraining.llm as module

    options = PretrainOptions(
        init=str(tiny / "llm"), steps=6, max_tokens=64, batch=4, matrix_learning_rate=0.02,
        checkpoint_min=1e-9 if by == "kill" else 60,
    )  # fmt: skip
    real, calls = module.one_step, []

    def stops(*args):
        calls.append(1)
        if len(calls) == 4 and by == "kill":
            raise KeyboardInterrupt
        if len(calls) == 3 and by != "kill":
            os.kill(os.getpid(), by)
        return real(*args)

    pretrain(tmp_path / "straight", tiny / "prepare", 0, options)
    monkeypatch.setattr(module, "one_step", stops)
    if by != "kill":  # a background job of a shell begins with Ctrl-C ignored, which would stay so
        before = signal.signal(by, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(by, before))
    stopped = pytest.raises(UserError, match="step 3 by a signal") if by != "kill" else pytest.raises(KeyboardInterrupt)
    with stopped:
        pretrain(tmp_path / "out", tiny / "prepare", 0, options, scratch=tmp_path / "scratch")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in (tmp_path / "scratch").glob("step-*")] == ["step-00000003"]
    monkeypatch.setattr(module, "one_step", real)
    pretrain(tmp_path / "out", tiny / "prepare", 0, options, scratch=tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    one, other = (load_file(tmp_path / f / "model.safetensors") for f in ("straight", "out"))
    assert all(torch.equal(one[k], other[k]) for k in one)
    one, other = (read_manifest(tmp_path / f) for f in ("straight", "out"))
    assert one["notes"] == other["notes"]
    assert one["models"]["llm"]["tokens_gradient"] == other["models"]["llm"]["tokens_gradient"]  # of both attempts


def test_a_pre_training_without_a_place_for_its_state_still_ends_at_a_signal(tiny, tmp_path, monkeypatch):
    import jmlr.pretraining.llm as module

    options = PretrainOptions(init=str(tiny / "llm"), steps=6, max_tokens=64, batch=4)
    real, calls = module.one_step, []

    def stops(*args):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args)

    monkeypatch.setattr(module, "one_step", stops)
    with pytest.raises(UserError, match=r"^pretrain: stopped at step 2 by a signal$"):
        pretrain(tmp_path / "out", tiny / "prepare", 0, options)
    assert len(calls) == 2
    assert not (tmp_path / "out").exists()


def test_a_model_from_scratch_can_begin_with_induction_heads(tiny, tmp_path):
    options = Config.load({}).models["llm"].pretrain
    assert options is not None
    changed = options.model_copy(update={"steps": 1, "batch": 4, "induction_heads": True})
    pretrain(tmp_path / "out", tiny / "prepare", 0, changed, [tiny / "world"])
    assert (tmp_path / "out/model.safetensors").is_file()


def test_the_weights_of_tokens_are_those_of_the_obvious_way():
    def obvious(text, targets, offsets):
        full = np.zeros(len(text), dtype=bool)
        for span in targets:
            full[span["start"] : span["end"]] = True
        return [1.0 if full[b:e].any() else 0.2 for b, e in offsets]

    random, cases = np.random.default_rng(0), 0
    for _ in range(200):
        text = "x" * int(random.integers(1, 40))
        edges = np.sort(random.integers(0, len(text) + 1, 2 * int(random.integers(0, 12)))).reshape(-1, 2)
        offsets = [(int(b), int(e)) for b, e in edges]  # with gaps, and tokens of no character
        targets = [dict(zip(("start", "end"), sorted(map(int, random.integers(0, len(text) + 3, 2))), strict=True)) for _ in range(3)]  # fmt: skip
        found = _weights({"text": text, "targets": targets}, offsets, 0.2)
        assert found.dtype == np.float32
        assert found.tolist() == np.array(obvious(text, targets, offsets), np.float32).tolist()
        cases += len(offsets)
    assert cases > 500


@pytest.mark.parametrize("together", [8, 10_000])
def test_a_step_in_parts_has_the_loss_and_the_gradient_of_the_whole_batch(tiny, monkeypatch, together):
    """Documents of uneven length and weight: the weighted mean over all tokens of the batch, whatever computes at once."""
    monkeypatch.setattr("jmlr.pretraining.llm.tokens_at_once", lambda kind: together)
    llm = AutoModelForCausalLM.from_pretrained(tiny / "llm").double()
    draw = np.random.default_rng(0)
    rows = [
        Document(draw.integers(5, 90, n).astype(np.int32), draw.choice([0, 0.25, 1], n).astype(np.float32))
        for n in (3, 17, 9, 9, 4)
    ]
    loss, target_loss = one_step(llm, rows, [], 1.0, "float32")
    found = {name: p.grad.clone() for name, p in llm.named_parameters()}
    llm.zero_grad()
    losses, weights = [], []
    for row in rows:
        logits = llm(input_ids=torch.tensor(row.ids)[None].long()).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[1:]).long(), reduction="none"))
        weights.append(torch.tensor(row.weights[1:]))
    each, weight = torch.cat(losses), torch.cat(weights)
    expected = (each * weight).sum() / weight.sum()
    expected.backward()
    torch.nn.utils.clip_grad_norm_(llm.parameters(), 1.0)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert target_loss == pytest.approx(each[weight == 1].mean().item(), rel=1e-6)
    for name, p in llm.named_parameters():
        assert torch.allclose(found[name], p.grad, atol=1e-7), name


def test_subnormals_are_zero_while_a_model_is_trained_and_not_after(tiny, tmp_path, monkeypatch):
    seen = []
    kept = one_step

    def looked(*given):
        seen.append((torch.tensor(1e-39) * 1.0).item())
        return kept(*given)

    monkeypatch.setattr("jmlr.pretraining.llm.one_step", looked)
    options = PretrainOptions(init=str(tiny / "llm"), steps=2, max_tokens=64, batch=2)
    pretrain(tmp_path / "out", tiny / "prepare", 0, options)
    assert seen == [0.0, 0.0]
    assert (torch.tensor(1e-39) * 1.0).item() > 0


def test_a_caller_that_takes_subnormals_for_zero_still_does_after_a_training():
    torch.set_flush_denormal(True)
    try:
        with no_subnormals():
            pass
        assert (torch.tensor(1e-39) * 1.0).item() == 0.0
    finally:
        torch.set_flush_denormal(False)
