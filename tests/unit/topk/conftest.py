"""A GPU for the tests of `jmlr.topk.cuda`: a real one, or the module built with an emulation that runs on the host."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def emulated_module(tmp_path_factory):
    """Build tests/native/emulated_module.cpp and load it as `_topk_cuda`."""
    pybind11 = pytest.importorskip("pybind11")
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("emulated")
    target = folder / f"_topk_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    places = [
        ROOT / "csrc",
        ROOT / "tests/native",
        ROOT / "tests/native/emulated",
        pybind11.get_include(),
        sysconfig.get_path("include"),
    ]
    options = ["-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wno-unknown-pragmas"]
    command = [compiler, *options, *(f"-I{place}" for place in places)]
    done = subprocess.run(
        [*command, ROOT / "tests/native/emulated_module.cpp", "-o", target], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("_topk_cuda", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class HostLane:
    """Two buffers and no streams; what is not to be read any more is spoiled."""

    def __init__(self, device, rows, stride):
        import torch

        self._buffers = [torch.zeros((rows, stride)) for _ in range(2)]
        self.readable = False

    def bring(self, side, rows):
        import torch

        buffer = self._buffers[side]
        buffer[:] = float("nan")
        buffer[: len(rows)] = 0
        buffer[: len(rows), : rows.shape[1]] = torch.tensor(rows)
        return buffer[: len(rows)]

    def before_reading(self, side):
        self.readable = True

    def after_reading(self, side):
        assert self.readable


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request, monkeypatch):
    """Yield an object with `device`, `emulated` and `tensor(array)`, which puts an array on the GPU."""
    torch = pytest.importorskip("torch")
    from jmlr.topk import cuda

    if request.param == "cuda":
        reason = cuda.why_not() or (None if torch.cuda.is_available() else "torch sees no CUDA device")
        if reason:
            pytest.skip(reason)
        return SimpleNamespace(device="cuda", emulated=False, tensor=lambda array: torch.as_tensor(array).cuda())
    module = request.getfixturevalue("emulated_module")
    from jmlr.topk import arrays, cuda_maxsim, direct, index, maxsim, merging, streamed

    monkeypatch.setattr(cuda, "gpu_module", lambda: module)
    monkeypatch.setattr(cuda, "stream_of", lambda device: 0)
    monkeypatch.setattr(cuda, "ordinal_of", lambda device: 0)
    monkeypatch.setattr(streamed, "_Lane", HostLane)
    for place in (cuda, cuda_maxsim, direct, index, maxsim, merging, arrays):
        monkeypatch.setattr(place, "on_gpu", lambda values: isinstance(values, torch.Tensor))
    return SimpleNamespace(device="cpu", emulated=True, tensor=torch.as_tensor)
