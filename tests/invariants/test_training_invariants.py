"""What must not change a training: how a batch is split, over how many ranks, how it is padded, when it was killed. Real tiny runs."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import jmlr.models.parts as parts_module
from jmlr.runtime.job_options import values
from jmlr.training.loop import train_round
from jmlr.training.step import joint_step
from ranks import environment, finished, jmlr, torchrun
from toys import JOINT, open_session, toy_reading, toy_retrieval

OPTIONS = JOINT.model_copy(update={"steps": 4, "batch": 8, "retriever_learning_rate": 1e-3})
LOSSES = ("loss_lm", "loss_rank")


def opened(tiny, candidates, seed=0, **changes):
    """Open a session in float64, so that what is left of a difference is an error, not rounding."""
    session = open_session(tiny, candidates, seed=seed, options=OPTIONS, **changes)
    session.llm.double()
    session.retriever.double()
    return session


def trajectory(tiny, candidates, scratch, **changes):
    """Train for real; return the figures of all steps and the trained parameters."""
    session = opened(tiny, candidates, **changes)
    history = train_round(session, 1, 1, scratch=scratch, key="", name="train")
    trained = {
        f"{kind}.{name}": p.detach().clone()
        for kind, model in (("llm", session.llm), ("retriever", session.retriever))
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    return history, trained


def assert_same_path(one, other, tolerance=1e-7):
    for a, b in zip(one[0], other[0], strict=True):
        for name in LOSSES:
            assert a[name] == pytest.approx(b[name], rel=tolerance), (a["step"], name)
    assert one[1].keys() == other[1].keys()
    for name, p in one[1].items():
        assert (p - other[1][name]).abs().max().item() <= 10 * tolerance * max(1.0, p.abs().max().item()), name


@pytest.fixture(scope="module")
def straight(tiny, candidates, tmp_path_factory):
    return trajectory(tiny, candidates, tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_a_batch_of_eight_equals_parts_of_it_accumulated(tiny, candidates, tmp_path, straight, micro_batch):
    assert_same_path(straight, trajectory(tiny, candidates, tmp_path, micro_batch=micro_batch))


@pytest.mark.filterwarnings("error:.*gradient_checkpointing_enable:FutureWarning")
def test_recomputing_activations_changes_nothing(tiny, candidates, tmp_path, straight):
    assert_same_path(straight, trajectory(tiny, candidates, tmp_path, gradient_checkpointing=True))


@pytest.mark.parametrize("padding", [0, 10**9])
def test_padding_changes_nothing(tiny, candidates, tmp_path, straight, monkeypatch, padding):
    monkeypatch.setattr(parts_module, "PADDING_TOKENS", padding)
    assert_same_path(straight, trajectory(tiny, candidates, tmp_path))


def test_the_size_of_a_forward_pass_changes_nothing(tiny, candidates, tmp_path, straight):
    assert_same_path(straight, trajectory(tiny, candidates, tmp_path, forward_tokens=150))


def test_two_runs_of_one_seed_have_the_same_bits_and_another_seed_has_not(tiny, candidates, tmp_path, straight):
    again = trajectory(tiny, candidates, tmp_path)
    assert all(torch.equal(p, again[1][name]) for name, p in straight[1].items())
    assert [h["loss_rank"] for h in straight[0]] == [h["loss_rank"] for h in again[0]]
    other = trajectory(tiny, candidates, tmp_path / "other", seed=1, steps=1)
    assert other[0][0]["loss_rank"] != straight[0][0]["loss_rank"]


def test_the_order_of_questions_and_of_candidates_changes_nothing(tiny, candidates):
    session = opened(tiny, candidates, sampling="top", passage_order="best_last")
    batch = list(session.questions[:6])

    def shuffled(question):
        order = list(range(len(question.candidates)))
        random.Random(question.number).shuffle(order)
        return replace(
            question,
            candidates=[question.candidates[i] for i in order],
            scores=[question.scores[i] for i in order],
        )

    one, other = (
        joint_step(session.llm, session.retriever, session.passages, b, session.step_settings, 0, 0, True)
        for b in (batch, [shuffled(q) for q in reversed(batch)])
    )
    assert one.loss_lm.item() == pytest.approx(other.loss_lm.item(), rel=1e-12)
    assert one.loss_rank.item() == pytest.approx(other.loss_rank.item(), rel=1e-10)


def command(tiny, candidates, folder, **changes):
    """Return the arguments of `jmlr train` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.yaml").write_text(values(OPTIONS.model_copy(update=changes), toy_reading(), toy_retrieval()))
    return [
        *("train", "--out", folder / "out", "--prepared", tiny / "prepare", "--llm", tiny / "llm", "--seed", "0"),
        *("--scratch", folder / "scratch", "--retriever", tiny / "retriever", "--search", candidates),
        *("--options", folder / "options.yaml"),
    ]


def result(folder):
    weights = {
        **load_file(folder / "out/adapter/adapter_model.safetensors"),
        **load_file(folder / "out/retriever/model.safetensors"),
    }
    return [json.loads(line) for line in (folder / "out/metrics.jsonl").read_text().splitlines()], weights


@pytest.mark.slow
@pytest.mark.parametrize("shard_llm", [False, True])
def test_two_ranks_equal_one_and_only_the_first_speaks_and_writes(tiny, candidates, tmp_path, shard_llm):
    alone, both = tmp_path / "alone", tmp_path / "both"
    finished(jmlr(*command(tiny, candidates, alone)))
    said = finished(torchrun(*command(tiny, candidates, both, shard_llm=shard_llm)))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (alone / "out/adapter" / name).stat().st_size == (both / "out/adapter" / name).stat().st_size
    assert said.count("llm matrices") == 1
    assert said.count(": 4/4") == 1
    (one, w), (two, v) = result(alone), result(both)
    for a, b in zip(one, two, strict=True):
        for name in (*LOSSES, "agreement", "hit", "passage_loss"):
            assert a[name] == pytest.approx(b[name], rel=2e-4), (a["step"], name)
    for name, p in w.items():
        if "key.bias" not in name:  # its gradient is rounding alone: softmax does not see it
            assert (p - v[name]).abs().max().item() <= 2e-3 * max(p.abs().max().item(), 1e-2), name
    assert json.loads((both / "out/manifest.json").read_text())["notes"]["ranks"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("launch", [jmlr, torchrun])
def test_a_training_stopped_by_a_signal_goes_on_to_the_same_bits(tiny, candidates, tmp_path, launch):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    number = (
        signal.SIGUSR1 if launch is jmlr else signal.SIGTERM
    )  # the two are handled alike; torchrun passes on the second alone
    finished(launch(*command(tiny, candidates, straight, steps=12)))
    words = list(map(str, launch(*command(tiny, candidates, stopped, steps=12))))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if ": 2/12" in line:
                process.send_signal(number)
    assert process.returncode != 0, "".join(said)
    assert any("by a signal; the state is saved" in line for line in said), "".join(said)
    assert not (stopped / "out").exists()
    said = finished(launch(*command(tiny, candidates, stopped, steps=12)))
    assert "goes on from step" in said
    (_, w), (_, v) = result(straight), result(stopped)
    assert w.keys() == v.keys()
    assert all(torch.equal(p, v[name]) for name, p in w.items())
