"""What must not change a pre-training: over how many ranks a batch is shared, and how many go on after a stop. Real tiny runs."""

from __future__ import annotations

import signal
import subprocess

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from jmlr.options import PretrainOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.job_options import values
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.pretrain import pretrain
from ranks import environment, finished, jmlr, torchrun


def command(tiny, folder, **changes):
    """Return the arguments of `jmlr pretrain` into a folder: continued, on documents of uneven length."""
    options = PretrainOptions(
        init=str(tiny / "llm"), steps=6, max_tokens=96, batch=5, learning_rate=1e-3, warmup_steps=2, pretrain_precision="float32"
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.yaml").write_text(values(options.model_copy(update=changes)))
    return [
        *("pretrain", "--out", folder / "out", "--prepared", tiny / "prepare", "--seed", "0"),
        *("--scratch", folder / "scratch", "--options", folder / "options.yaml"),
    ]


def assert_alike(tiny, one, other, tolerance=2e-3):
    """What is left of a difference, against what the training changed: sums in another order, in float32, of which AdamW
    makes steps of its own where a gradient is rounding alone."""
    before, a, b = (load_file(f / "model.safetensors") for f in (tiny / "llm", one / "out", other / "out"))
    assert a.keys() == b.keys() == before.keys()
    moved, left = (
        sum((p[k] - q[k]).double().square().sum().item() for k in a) ** 0.5 for p, q in ((a, before), (a, b))
    )
    assert left <= tolerance * moved, (left, moved)
    a, b = (read_manifest(folder / "out")["notes"] for folder in (one, other))
    assert a.pop("target_loss") == pytest.approx(b.pop("target_loss"), rel=tolerance / 10)
    assert a == b


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    finished(jmlr(*command(tiny, folder)))
    return folder


@pytest.mark.slow
def test_two_ranks_pretrain_as_one_does_and_only_the_first_speaks(tiny, tmp_path, alone):
    said = finished(torchrun(*command(tiny, tmp_path)))
    assert said.count(": 6/6") == 1
    assert_alike(tiny, alone, tmp_path)
    assert not (tmp_path / "scratch").exists()


def stopped_after(words, steps):
    """Run until a step is done, and ask it to end."""
    with subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True, env=environment()) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if f": {steps}/6" in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode != 0, "".join(said)
    assert any("by a signal; the state is saved" in line for line in said), "".join(said)


@pytest.mark.slow
def test_a_pretraining_goes_on_by_another_number_of_ranks(tiny, tmp_path, alone):
    """One rank, then two, then one."""
    stopped_after(jmlr(*command(tiny, tmp_path)), 1)
    stopped_after(torchrun(*command(tiny, tmp_path)), 3)
    assert "goes on from step" in finished(jmlr(*command(tiny, tmp_path)))
    assert_alike(tiny, alone, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tie", "precision", "tolerance"), [(False, "float32", 2e-3), (True, "float32", 2e-3), (False, "bfloat16", 0.1)]
)
def test_a_sharded_pretraining_writes_the_files_of_one_process_and_goes_on_by_another_number(
    tiny, tmp_path, tie, precision, tolerance
):
    """Stopped by one process, gone on with by two that share weights and moments; a tied head stays tied."""
    base = tmp_path / "base"
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny / "llm", tie_word_embeddings=tie)
    AutoModelForCausalLM.from_config(config).save_pretrained(base / "llm")
    AutoTokenizer.from_pretrained(tiny / "llm").save_pretrained(base / "llm")
    more = {
        "init": str(base / "llm"),
        "shard_llm": True,
        "gradient_checkpointing": tie,
        "pretrain_precision": precision,
    }
    one, two = tmp_path / "one", tmp_path / "two"
    finished(jmlr(*command(tiny, one, **more)))
    stopped_after(jmlr(*command(tiny, two, **more)), 2)
    assert "goes on from step" in finished(torchrun(*command(tiny, two, **more)))
    assert_alike(base, one, two, tolerance)
    for name in ("config.json", "generation_config.json"):
        assert (one / "out" / name).read_text() == (two / "out" / name).read_text()
    loaded = AutoModelForCausalLM.from_pretrained(two / "out")
    assert (loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight) == tie


def test_muon_and_a_sharded_model_are_refused_together():
    with pytest.raises(ValueError, match=r"shard_llm with matrix_learning_rate 0\.02: Muon needs whole matrices"):
        PretrainOptions(shard_llm=True, matrix_learning_rate=0.02)


def test_a_batch_that_ranks_cannot_share_is_refused(tiny, tmp_path, monkeypatch):
    from jmlr.runtime import distributed

    monkeypatch.setattr(distributed, "current", lambda: distributed.Ranks(0, 8))
    options = PretrainOptions(init=str(tiny / "llm"), steps=1, batch=4)
    with pytest.raises(UserError, match="batch 4 is less than the 8 ranks"):
        pretrain(tmp_path / "out", tiny / "prepare", 0, options)


def test_a_retriever_is_pretrained_by_one_process_alone(tiny, tmp_path, monkeypatch):
    for name, value in {
        **dict.fromkeys(("RANK", "LOCAL_RANK", "MASTER_PORT"), "0"),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "here",
    }.items():
        monkeypatch.setenv(name, value)
    options = PretrainOptions(init=str(tiny / "retriever"), objective="inverse_cloze", steps=1)
    with pytest.raises(UserError, match="2 ranks, objective inverse_cloze"):
        pretrain(tmp_path / "out", tiny / "prepare", 0, options)
