import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from jmlr.corpus.prompt import passage_text
from jmlr.pretraining.muon import Muon
from jmlr.runtime.errors import UserError
from jmlr.runtime.variants import listed
from jmlr.stages.train import train
from jmlr.topk import Index
from jmlr.topk.stored import StoredVectors
from jmlr.training.optimiser import learning_rate_factor
from jmlr.training.order import batch_at
from jmlr.training.reference import reference_step
from jmlr.training.step import arrange, joint_step, shuffled
from toys import JOINT, open_session, settings_of, toy_reading, toy_retrieval, toy_training


def one_step(session, batch):
    return joint_step(session.llm, session.retriever, session.passages, batch, settings_of(session), 0, 0, True)


def has_gradient(model):
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_loss_rank_moves_no_llm_parameter_and_loss_lm_no_retriever_parameter(tiny, candidates):
    session = open_session(tiny, candidates)
    result = one_step(session, session.questions[:4])
    result.loss_rank.backward()
    assert has_gradient(session.retriever)
    assert not has_gradient(session.llm)
    session.retriever.zero_grad()
    one_step(session, session.questions[:4]).loss_lm.backward()
    assert has_gradient(session.llm)
    assert not has_gradient(session.retriever)


@pytest.mark.parametrize("target", listed("losses"))
def test_one_batch_of_four_equals_four_batches_of_one(tiny, candidates, target):
    session = open_session(tiny, candidates, target=target)
    whole = one_step(session, session.questions[:4])
    parts = [one_step(session, [q]) for q in session.questions[:4]]
    assert whole.loss_lm.item() == pytest.approx(sum(p.loss_lm.item() for p in parts) / 4, rel=1e-5)
    assert whole.loss_rank.item() == pytest.approx(sum(p.loss_rank.item() for p in parts) / 4, rel=1e-4)


def gradients(session, step, batch, settings):
    """Run one step in float64; return both losses and the gradient of every trained parameter."""
    session.llm.double().train()
    session.retriever.double()
    for model in (session.llm, session.retriever):
        model.zero_grad(set_to_none=True)
    result = step(session.llm, session.retriever, session.passages, batch, settings, 0, 3, True)
    (result.loss_lm + result.loss_rank).backward()
    grads = {
        f"{kind}.{name}": p.grad.clone()
        for kind, model in (("llm", session.llm), ("retriever", session.retriever))
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    return result.loss_lm.item(), result.loss_rank.item(), grads


ORDERS = [("llm_rank", "best_last", 0.0), *((target, "shuffled", 0.7) for target in listed("losses"))]


@pytest.mark.parametrize(
    ("target", "order", "prior", "questions", "kept", "samples"),
    [
        *(t + s for t in ORDERS for s in [(1, 8, 4), (3, 8, 4), (4, 5, 3), (4, 8, 8), (2, 3, 10)]),
        ("emdr2", "best_first", 0.7, 4, 5, 3),
    ],
)
def test_the_fast_step_equals_the_twin_in_losses_and_every_gradient(
    tiny, candidates, target, order, prior, questions, kept, samples
):
    session = open_session(tiny, candidates, lora_dropout=0.0)
    # Ragged on purpose: the second question has one candidate fewer.
    batch = [
        replace(q, candidates=q.candidates[: kept - (i == 1)], scores=[0.1 * c for c in range(kept - (i == 1))])
        for i, q in enumerate(session.questions[:questions])
    ]
    settings = settings_of(session, target=target, samples=samples, passage_order=order, prior_weight=prior)
    fast = gradients(session, joint_step, batch, settings)
    twin = gradients(session, reference_step, batch, settings)
    assert fast[0] == pytest.approx(twin[0], rel=1e-9)
    assert fast[1] == pytest.approx(twin[1], rel=1e-9)
    assert fast[2].keys() == twin[2].keys()
    assert len(fast[2]) > 20
    largest = max(
        g.abs().max().item() for g in twin[2].values()
    )  # a key's bias has none but rounding's: softmax ignores it
    for name, expected in twin[2].items():
        allowed = 1e-9 * max(expected.abs().max().item(), 1e-6 * largest)
        assert (fast[2][name] - expected).abs().max().item() <= allowed, name


def run(tiny, candidates, out, scratch, llm=None, index=None, **changes):
    train(
        out,
        tiny / "prepare",
        llm or str(tiny / "llm"),
        0,
        scratch,
        JOINT.model_copy(update=changes),
        toy_reading(),
        toy_retrieval(),
        retriever=str(tiny / "retriever"),
        search=candidates,
        index=index,
    )
    return {**load_file(out / "adapter/adapter_model.safetensors"), **load_file(out / "retriever/model.safetensors")}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("changes", [{}, {"lora_dropout": 0.05, "rank_after_steps": 2}])
def test_one_seed_gives_the_same_bits_and_a_resumed_training_equals_a_straight_one(
    tiny, candidates, tmp_path, monkeypatch, changes
):
    straight = run(tiny, candidates, tmp_path / "a", tmp_path / "sa", **changes)
    again = run(tiny, candidates, tmp_path / "b", tmp_path / "sb", **changes)
    assert same(straight, again)
    history = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    warm = changes.get("rank_after_steps", 0)
    assert [r["loss_rank"] is None for r in history] == [step < warm for step in range(JOINT.steps)]

    import jmlr.training.loop as loop

    real, calls = loop.one_step, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "one_step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, candidates, tmp_path / "c", tmp_path / "sc", checkpoint_min=1e-9, **changes)
    assert not (tmp_path / "c").exists()
    monkeypatch.setattr(loop, "one_step", real)
    assert [p.name for p in (tmp_path / "sc").glob("step-*")] == ["step-00000003"]
    shown = (tmp_path / "sc/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in shown] == [1, 2, 3]
    state = tmp_path / "sc/step-00000003/state.json"
    about = json.loads(state.read_text())
    assert about["spent"]["models"]
    about["spent"]["seconds"] = 5000.0
    state.write_text(json.dumps(about))
    resumed = run(tiny, candidates, tmp_path / "c", tmp_path / "sc", checkpoint_min=1e-9, **changes)
    assert same(straight, resumed)
    whole, parts = (json.loads((tmp_path / x / "manifest.json").read_text()) for x in "ac")
    assert 5000 < parts["seconds"] < 6000  # what the first attempt took counts
    for model, figures in whole["models"].items():
        assert parts["models"][model]["tokens_gradient"] == figures["tokens_gradient"] > 0
    assert len((tmp_path / "c/metrics.jsonl").read_text().splitlines()) == JOINT.steps
    assert not (tmp_path / "sc").exists()


def test_a_state_made_on_another_model_is_not_gone_on_from(tiny, candidates, tmp_path, monkeypatch, capsys):
    import jmlr.training.loop as loop

    def dies(*args):
        raise KeyboardInterrupt

    llm = tmp_path / "llm"
    shutil.copytree(tiny / "llm", llm)
    settings = {"llm": str(llm), "steps": 2, "checkpoint_min": 1e-9}
    real = loop.one_step
    monkeypatch.setattr(
        loop, "one_step", lambda session, step, stop: real(session, step, stop) if step == 0 else dies()
    )
    with pytest.raises(KeyboardInterrupt):
        run(tiny, candidates, tmp_path / "out", tmp_path / "scratch", **settings)
    about = json.loads((llm / "manifest.json").read_text())
    about["outputs"]["model.safetensors"] = "0" * 64  # what `pretrain` writes there after a change of its options
    (llm / "manifest.json").write_text(json.dumps(about))
    monkeypatch.setattr(loop, "one_step", real)
    capsys.readouterr()
    run(tiny, candidates, tmp_path / "out", tmp_path / "scratch", **settings)
    assert "belongs to another configuration, data, model or code; beginning anew" in capsys.readouterr().err


def test_a_training_that_becomes_nan_stops_at_the_step_and_keeps_the_state_before_it(
    tiny, candidates, tmp_path, monkeypatch
):
    import jmlr.training.loop as loop

    real, kept = loop.one_step, {}

    def poisoned(session, step, stop):
        if step == 3:
            kept.update({n: p.detach().clone() for n, p in session.llm.named_parameters() if p.requires_grad})
            monkeypatch.setattr(loop, "joint_step", lambda *a, **k: poison(joint_step(*a, **k)))
        return real(session, step, stop)

    def poison(result):
        return replace(result, loss_lm=result.loss_lm * float("nan"))

    monkeypatch.setattr(loop, "one_step", poisoned)
    with pytest.raises(UserError, match="loss_lm is nan at step 4; nothing was changed by this step"):
        run(tiny, candidates, tmp_path / "out", tmp_path / "scratch")
    assert not (tmp_path / "out").exists()
    state = load_file(tmp_path / "scratch/step-00000003/state.safetensors")
    assert kept
    assert all(torch.equal(state[f"llm/{n}"], p) for n, p in kept.items())


def test_live_candidates_train_and_are_refused_beside_a_prior(tiny, candidates, tmp_path):
    session = open_session(tiny, candidates)
    passages = [session.passages.for_retriever(row) for row in range(len(session.passages.table))]
    vectors, _ = session.retriever.encode_all(passages, batch_tokens=4096)
    Index.build(vectors).save(tmp_path / "index/index")
    (tmp_path / "index/manifest.json").write_text(json.dumps({"outputs": {}}))
    live = run(tiny, candidates, tmp_path / "a", tmp_path / "s", index=tmp_path / "index", live_candidates=True)
    assert not same(live, run(tiny, candidates, tmp_path / "b", tmp_path / "s"))  # candidates.parquet's are others
    with pytest.raises(UserError, match="--live-candidates: give --index"):
        run(tiny, candidates, tmp_path / "c", tmp_path / "s", live_candidates=True)
    with pytest.raises(ValueError, match="live_candidates with prior_weight"):
        toy_training(target="pdist", live_candidates=True, prior_weight=1.0)


def test_the_retriever_gets_its_own_learning_rate_and_every_parameter_one_group(tiny, candidates):
    session = open_session(tiny, candidates, retriever_learning_rate=3e-6)
    rates = {g.name: g.learning_rate for g in session.groups}
    assert rates == {"llm matrices": 1e-2, "retriever matrices": 3e-6, "retriever vectors": 3e-6}
    grouped = [id(p) for g in session.optimiser.param_groups for p in g["params"]]
    trainable = [id(p) for m in (session.llm, session.retriever) for p in m.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)


def test_an_adapter_loads_with_peft(tiny, candidates, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run(tiny, candidates, tmp_path / "a", tmp_path / "s")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny / "llm"), tmp_path / "a/adapter")
    assert any("lora_B" in n and p.abs().sum() > 0 for n, p in model.named_parameters())


def test_epochs_visit_every_question_once_and_repeat_for_the_same_seed():
    numbers = list(range(10))
    seen = [q for step in range(5) for q in batch_at(numbers, step, 4, seed=3)]
    assert sorted(seen[:10]) == numbers
    assert sorted(seen[10:]) == numbers
    assert seen == [q for step in range(5) for q in batch_at(numbers, step, 4, seed=3)]


def test_the_best_passage_stands_last_by_default():
    assert arrange([7, 8, 9], "best_last", 0, 0, 0) == [9, 8, 7]
    assert sorted(arrange([7, 8, 9], "shuffled", 0, 0, 0)) == [7, 8, 9]


def test_learning_rates_warm_up_and_decay_over_all_rounds():
    rates = [learning_rate_factor(s, 100, warmup=10, since=s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(0.1)


def test_muon_equals_the_one_of_torch():
    """Ours makes matrices of one shape orthogonal together, which is what it is kept for: half the time on small models."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch has Muon from 2.9 on")
    shapes = [(6, 4), (16, 16), (6, 4), (4, 12), (16, 16)]
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random) for shape in shapes]
    ours, theirs = ([p.clone().requires_grad_() for p in start] for _ in range(2))
    a, b = Muon(ours, lr=0.03), torch.optim.Muon(theirs, lr=0.03, weight_decay=0.0)
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=random)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q, before in zip(ours, theirs, start, strict=True):
        moved = (p - before).norm()
        assert moved > 0.1
        assert (p - q).norm() / moved < 0.02  # both multiply in bfloat16, whose kernels may add in another order


def test_a_joint_target_without_candidates_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="--search"):
        train(
            tmp_path / "out",
            tiny / "prepare",
            str(tiny / "llm"),
            0,
            tmp_path / "s",
            JOINT,
            toy_reading(),
            toy_retrieval(),
        )
    assert not list(tmp_path.iterdir())


def test_shuffled_losses_are_the_same_values_in_another_order_and_repeat(tiny, candidates):
    session = open_session(tiny, candidates)
    batch = session.questions[:4]
    losses = torch.arange(32.0).reshape(4, 8)
    picked = torch.ones(4, 8, dtype=torch.bool)
    picked[1, 5:] = False
    mixed = shuffled(losses, picked, batch, 0, 3)
    assert torch.equal(mixed.sort(1).values, losses)
    assert torch.equal(mixed[1, 5:], losses[1, 5:])
    assert not torch.equal(mixed, losses)
    assert torch.equal(mixed, shuffled(losses, picked, batch, 0, 3))
    assert torch.equal(mixed[2:], shuffled(losses[2:], picked[2:], batch[2:], 0, 3))  # however the batch is split
    assert not torch.equal(mixed, shuffled(losses, picked, batch, 0, 4))


def test_the_control_changes_the_retrievers_loss_and_nothing_of_the_llms(tiny, candidates):
    session = open_session(tiny, candidates, target="pdist")
    batch = session.questions[:4]
    plain, control = (
        joint_step(session.llm, session.retriever, session.passages, batch, settings_of(session, shuffle_losses=s), 0, 0, True)
        for s in (False, True)
    )  # fmt: skip
    assert plain.loss_lm.item() == control.loss_lm.item()
    assert plain.figures["passage_loss"][0].item() == pytest.approx(control.figures["passage_loss"][0].item())
    assert plain.loss_rank.item() != control.loss_rank.item()


def test_stored_vectors_of_passages_give_the_scores_and_gradients_that_encoding_gives(tiny, candidates, tmp_path):
    options = {"target": "pdist", "retriever_encoders": "query_only"}
    straight = open_session(tiny, candidates, **options)
    texts = pq.read_table(tiny / "prepare/passages.parquet").to_pylist()
    rows = straight.retriever.tokenize([passage_text(p["title"], p["text"]) for p in texts])
    whole, _ = straight.retriever.encode_all(rows, batch_tokens=512)
    for number, part in enumerate((whole[:10], whole[10:])):
        (tmp_path / str(number)).mkdir()
        StoredVectors(part.numpy()).save(tmp_path / str(number))
    stored = open_session(tiny, candidates, vectors=[tmp_path / "0", tmp_path / "1"], **options)
    for session in (straight, stored):
        session.result = one_step(session, session.questions[:4])
        session.result.loss_rank.backward()
    assert stored.result.loss_rank.item() == pytest.approx(straight.result.loss_rank.item(), rel=1e-4)
    expected, got = (
        torch.cat([p.grad.flatten() for p in s.retriever.parameters() if p.grad is not None])
        for s in (straight, stored)
    )
    assert expected.norm() > 0
    assert (got - expected).norm() / expected.norm() < 1e-3
    with pytest.raises(UserError, match="vectors of 10 passages, but there are"):
        open_session(tiny, candidates, vectors=[tmp_path / "0"], **options)
    (tmp_path / "2").mkdir()
    StoredVectors(whole[10:, :7].numpy()).save(tmp_path / "2")
    with pytest.raises(UserError, match=r"2' holds vectors of depth 7, one for each passage; the retriever makes 96"):
        open_session(tiny, candidates, vectors=[tmp_path / "0", tmp_path / "2"], **options)
    StoredVectors(whole[10:].numpy(), np.arange(len(whole) - 9)).save(tmp_path / "2")
    with pytest.raises(UserError, match=r"depth 96, one for each token; the retriever makes 96, one for each passage"):
        open_session(tiny, candidates, vectors=[tmp_path / "0", tmp_path / "2"], **options)


def test_no_steps_leave_the_llm_as_it_is(tiny, candidates, tmp_path):
    train(
        tmp_path / "out", tiny / "prepare", str(tiny / "llm"), 0, tmp_path / "s",
        JOINT.model_copy(update={"steps": 0, "target": "frozen"}), toy_reading(), toy_retrieval(), search=candidates,
    )  # fmt: skip
    adapter = load_file(tmp_path / "out/adapter/adapter_model.safetensors")
    changes = [v for k, v in adapter.items() if "lora_B" in k]
    assert changes
    assert all(not v.any() for v in changes)
    assert (tmp_path / "out/metrics.jsonl").read_text() == ""
