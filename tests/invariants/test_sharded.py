"""What must not change where a language model is cut over ranks: losses, weights, files, and how many ranks go on. Real tiny runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sharded_rank
from jmlr.runtime.job_options import values
from ranks import finished, jmlr, torchrun
from toys import toy_reading, toy_retrieval

JUDGE, LEARN = 2, 1
CASES = {
    "uneven": {},
    "modules": {"train_modules": ["embed_tokens", "norm"], "lora_targets": ["q_proj", "down_proj", "lm_head"]},
    "recomputed": {"gradient_checkpointing": True, "clip_together": True},
    "late": {"rank_after_steps": 2, "micro_batch": 0},
}


@pytest.fixture(scope="module")
def tied(tiny, tmp_path_factory):
    """Return the tiny model with a head that is its embedding, as small models have it."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("tied")
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny / "llm", tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny / "llm").save_pretrained(folder)
    return folder


def case(tiny, candidates, folder, llm=None, until=None, **changes):
    changes = {"shard_llm": True, **changes}
    paths = {"folder": folder, "tiny": tiny, "candidates": candidates, "llm": llm or tiny / "llm"}
    return {**{k: str(v) for k, v in paths.items()}, "until": until, "changes": changes}


def by_two(folder: Path, *cases):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    program = [str(Path(sharded_rank.__file__))]
    finished(torchrun(folder / "cases.json", program=program), PYTHONPATH=str(Path(sharded_rank.__file__).parent))


def result(folder):
    return json.loads((folder / "about.json").read_text()), load_file(folder / "trained.safetensors")


def assert_same_path(one, other, tolerance=1e-7):
    (a, w), (b, v) = one, other
    assert len(a["history"]) == len(b["history"]) > 0
    for x, y in zip(a["history"], b["history"], strict=True):
        known = [k for k in ("loss_lm", "loss_rank", "llm_gradient_norm", "agreement", "hit") if x[k] is not None]
        for name in known:
            assert x[name] == pytest.approx(y[name], rel=tolerance), (x["step"], name)
    assert w.keys() == v.keys()
    for name, p in w.items():
        assert (p - v[name]).abs().max().item() <= 10 * tolerance * max(1.0, p.abs().max().item()), name


@pytest.fixture(scope="module")
def both(tiny, candidates, tied, tmp_path_factory):
    """Train every case by one process, which holds the model whole, and by two ranks that each hold a part."""
    root = tmp_path_factory.mktemp("sharded")
    llms = {name: tied if name == "modules" else None for name in CASES} | {"tied": tied}
    cases = {**CASES, "tied": {}}
    for name, changes in cases.items():
        sharded_rank.run(case(tiny, candidates, root / "one" / name, llms[name], **changes), 0)
    made = [case(tiny, candidates, root / "two" / name, llms[name], **changes) for name, changes in cases.items()]
    again = case(tiny, candidates, root / "two/again")
    by_two(root, *made, again)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "tied"])
def test_two_ranks_that_share_a_models_weights_train_it_as_one_that_has_all(both, name):
    one, two = result(both / "one" / name), result(both / "two" / name)
    assert (one[0]["sharded"], two[0]["sharded"]) == (False, True)
    assert_same_path(one, two)


@pytest.mark.slow
def test_a_rank_without_work_takes_part_in_the_passes_of_the_other(both):
    """Five questions one by one are two for a rank and three for the other; without the turns this hangs."""
    idle = result(both / "two/uneven")[0]["idle"]
    assert JUDGE in idle
    assert LEARN in idle


@pytest.mark.slow
def test_each_rank_holds_half_of_the_model(both):
    (whole,), parts = (result(both / n / "uneven")[0]["held"] for n in ("one", "two"))
    assert sum(parts) == whole
    assert max(parts) < 0.55 * whole


@pytest.mark.slow
def test_the_same_number_of_ranks_gives_the_same_bits(both):
    one, other = result(both / "two/uneven")[1], result(both / "two/again")[1]
    assert all(torch.equal(p, other[name]) for name, p in one.items())


@pytest.mark.slow
def test_a_sharded_training_goes_on_by_another_number_of_ranks(tiny, candidates, tmp_path, both, monkeypatch):
    """One process, then two ranks, then one; the state is in several pieces."""
    from jmlr.training import state

    monkeypatch.setattr(state, "PIECE_BYTES", 10_000)
    sharded_rank.run(case(tiny, candidates, tmp_path, until=1), 0)
    assert (tmp_path / "scratch/step-00000001/state-1.safetensors").is_file()
    by_two(tmp_path, case(tiny, candidates, tmp_path, until=3))
    assert (tmp_path / "scratch/step-00000003/state.json").is_file()
    sharded_rank.run(case(tiny, candidates, tmp_path), 0)
    assert_same_path(result(both / "one/uneven"), result(tmp_path))


@pytest.mark.slow
def test_adapters_in_float32_over_a_model_in_bfloat16_are_cut_too(tiny, candidates, tmp_path):
    """As a large model is trained: two kinds of numbers in a layer, products by autocast, and a rank without work."""
    changed = {"steps": 2, "train_precision": "bfloat16", "shard_llm": True}
    options = values(
        sharded_rank.OPTIONS.model_copy(update=changed), toy_reading(llm_precision="bfloat16"), toy_retrieval()
    )
    (tmp_path / "options.yaml").write_text(options)
    found = []
    for start, name in ((jmlr, "one"), (torchrun, "two")):
        words = [
            *("train", "--out", tmp_path / name / "out", "--prepared", tiny / "prepare", "--llm", tiny / "llm"),
            *("--seed", "0", "--scratch", tmp_path / name / "scratch", "--retriever", tiny / "retriever"),
            *("--search", candidates, "--options", tmp_path / "options.yaml"),
        ]
        finished(start(*words))
        lines = (tmp_path / name / "out/metrics.jsonl").read_text().splitlines()
        found.append([json.loads(line)["loss_lm"] for line in lines])
        adapter = load_file(tmp_path / name / "out/adapter/adapter_model.safetensors")
        assert {p.dtype for p in adapter.values()} == {torch.float32}
    assert found[0] == pytest.approx(found[1], rel=5e-3)
