"""Tokens, FLOPs and joules of a stage."""

from __future__ import annotations

import sys

import pytest
import torch

from jmlr.runtime import meter
from jmlr.runtime.energy import EnergyMeter
from jmlr.runtime.manifest import read_manifest, stage_output
from jmlr.runtime.progress import warn

WIDTH, VOCABULARY = 8, 20


class Small(torch.nn.Module):
    """As much of a Hugging Face model as the meter asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.inner = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        self.head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)

    def get_input_embeddings(self):
        return self.embedding

    def get_output_embeddings(self):
        return self.head

    def forward(self, ids):
        return self.head(self.inner(self.embedding(ids)))


def watched(what):
    model = Small()
    meter.watch(what, model)
    return model


@pytest.fixture(autouse=True)
def fresh():
    meter.reset()
    yield
    meter.reset()


def test_full_training_costs_six_flops_for_every_parameter_and_token():
    model = watched("llm")
    model(torch.zeros(3, 5, dtype=torch.long)).sum().backward()
    n, t = WIDTH * WIDTH, 15
    assert meter.counts() == {
        "llm": {
            "size": 2 * VOCABULARY * WIDTH + n,
            "parameters": n,
            "trained": n,
            "tokens_forward": 0,
            "tokens_gradient": t,
            "flops": 6 * n * t,
        }
    }


def test_a_pass_without_gradient_costs_two_and_frozen_weights_save_two():
    model = watched("llm")
    n = WIDTH * WIDTH
    with torch.no_grad():
        model(torch.zeros(2, 4, dtype=torch.long))
    assert meter.counts()["llm"]["flops"] == 2 * n * 8
    model.inner.requires_grad_(False)
    model(torch.zeros(1, 10, dtype=torch.long))
    assert meter.counts()["llm"]["flops"] == 2 * n * 8 + 4 * n * 10


def test_models_that_compute_nothing_and_things_without_embeddings_are_not_listed():
    meter.watch("llm", Small())
    meter.watch("tokenizer", "no model")
    assert meter.counts() == {}


def test_two_models_of_a_kind_add_up_and_a_reset_forgets_them():
    for _ in range(2):
        watched("retriever")(torch.zeros(1, 3, dtype=torch.long))
    assert meter.counts()["retriever"]["tokens_gradient"] == 6
    meter.reset()
    assert meter.counts() == {}


def test_a_model_that_is_dropped_is_counted_and_not_kept_alive():
    import gc
    import weakref

    model = watched("llm")
    model(torch.zeros(1, 3, dtype=torch.long))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert meter.counts()["llm"]["flops"] == 6 * WIDTH * WIDTH * 3


def test_recomputed_activations_cost_two_more():
    model = watched("llm")
    model.is_gradient_checkpointing = True
    model(torch.zeros(1, 3, dtype=torch.long))
    assert meter.counts()["llm"]["flops"] == 8 * WIDTH * WIDTH * 3


def test_a_copy_of_the_embedding_goes_on_counting():
    """As peft does where it trains the embedding in full."""
    import copy

    model = watched("llm")
    model.embedding = copy.deepcopy(model.embedding)
    model(torch.zeros(1, 7, dtype=torch.long))
    assert meter.counts()["llm"]["tokens_gradient"] == 7


def test_tokens_of_a_real_training_and_encoding_stand_in_the_manifests(tiny):
    from jmlr.runtime.manifest import read_manifest

    models = read_manifest(tiny / "llm")["models"]
    assert set(models) == {"llm"}
    assert models["llm"]["flops"] == 6 * models["llm"]["parameters"] * models["llm"]["tokens_gradient"] > 0
    assert set(read_manifest(tiny / "retriever")["models"]) == {"retriever"}


def powercap(folder, name, energy, most=1_000_000):
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{energy}\n")
    (package / "max_energy_range_uj").write_text(f"{most}\n")


def test_rapl_adds_packages_and_survives_a_wrap(tmp_path):
    powercap(tmp_path, "intel-rapl:0", 900_000)
    powercap(tmp_path, "intel-rapl:1", 100)
    powercap(tmp_path, "intel-rapl:0:0", 5)  # a part of package 0, counted in it
    energy = EnergyMeter(tmp_path)
    powercap(tmp_path, "intel-rapl:0", 100_000)
    powercap(tmp_path, "intel-rapl:1", 300_100)
    found = energy.read()
    assert found["cpu_joules"] == pytest.approx(0.2 + 0.3)
    assert found["cpu_why"] == ""


def test_energy_that_is_not_told_is_absent_with_the_reason(tmp_path, monkeypatch):
    found = EnergyMeter(tmp_path).read()
    assert found["cpu_joules"] is None
    assert found["cpu_why"] == "no RAPL on this machine"
    if not torch.cuda.is_available():
        assert found["gpu_joules"] is None
        assert found["gpu_why"]
    powercap(tmp_path, "intel-rapl:0", 1)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    assert EnergyMeter(tmp_path).read()["cpu_why"] == "RAPL can be read by root only"
    assert "torch" in sys.modules


class Nvml:
    """As much of NVML as the meter calls: two GPUs whose counters go up by 1,000 and 7,000 mJ between two readings."""

    def __init__(self) -> None:
        self.readings, self.gpu = 0, 0

    def nvmlInit_v2(self):  # noqa: N802
        self.readings += 1
        return 0

    def nvmlShutdown(self):  # noqa: N802
        return 0

    def nvmlDeviceGetCount_v2(self, count):  # noqa: N802
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, i, handle):  # noqa: N802
        self.gpu = i
        return 0

    def nvmlDeviceGetUUID(self, handle, text, size):  # noqa: N802
        text.value = f"GPU-{self.gpu}".encode()
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, total):  # noqa: N802
        total._obj.value = 50 + self.readings * (1000, 7000)[self.gpu]
        return 0


def test_gpu_energy_is_that_of_the_gpus_in_use(tmp_path, monkeypatch):
    import types

    nvml = Nvml()
    monkeypatch.setattr("jmlr.runtime.energy.ctypes.CDLL", lambda name: nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: types.SimpleNamespace(uuid="1"))
    assert EnergyMeter(tmp_path).read()["gpu_joules"] == 7.0  # the second GPU alone is visible to torch
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: types.SimpleNamespace(uuid="other"))
    assert EnergyMeter(tmp_path).read()["gpu_why"] == "NVML does not know the GPUs in use"


def test_a_manifest_keeps_what_its_stage_warned_of_each_once_with_what_was_said_before_a_kill(tmp_path, capsys):
    warn("before", "of another stage")
    with stage_output(tmp_path / "out", "train", inputs={}):
        warn("train jmlr", "loss_rank has not fallen")
        saved = meter.spent()
        meter.reset()  # the process is killed, and begins anew
        meter.add_earlier(saved)
        for _ in range(2):
            warn("train jmlr", "3 passages cut")
    assert capsys.readouterr().err.splitlines()[1] == "train jmlr: warning: loss_rank has not fallen"
    assert read_manifest(tmp_path / "out")["warnings"] == ["loss_rank has not fallen", "3 passages cut"]
