"""Joules of a stage, where the hardware tells them: GPUs by NVML, processors by RAPL; absent, with the reason, elsewhere.

    meter = EnergyMeter()
    ...
    meter.read()      # {"cpu_joules": 512.3, "gpu_joules": None, "cpu_why": "", "gpu_why": "no NVIDIA driver"}

GPU: `nvmlDeviceGetTotalEnergyConsumption`, of the GPUs that torch sees (NVIDIA, since Volta). CPU: the packages under
/sys/class/powercap (Intel and AMD), which only root can read on most machines. RAPL measures the whole processor: other work on
the machine is in the figure.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
SAMPLE_S = 60.0  # RAPL's counters wrap after some minutes under load


class EnergyMeter:
    """Begins to measure when it is made."""

    def __init__(self, powercap: Path = POWERCAP, every_s: float = SAMPLE_S) -> None:
        self._packages, self.cpu_why = _packages(powercap)
        self._last = [_number(p / "energy_uj") for p in self._packages]
        self._microjoules = 0
        self._gpus, self.gpu_why = _gpus()
        self._lock, self._done = threading.Lock(), threading.Event()
        if self._packages:
            threading.Thread(target=self._sample, args=(every_s,), daemon=True).start()

    def read(self) -> dict[str, float | str | None]:
        """Return the joules since the meter was made, and why one of the two is not known; measuring ends."""
        self._done.set()
        if self._packages:
            self._add()
        used = self._gpu_joules()
        return {
            "cpu_joules": round(self._microjoules / 1e6, 3) if self._packages else None,
            "gpu_joules": used,
            "cpu_why": self.cpu_why,
            "gpu_why": self.gpu_why,
        }

    def _sample(self, every_s: float) -> None:
        while not self._done.wait(every_s):
            self._add()

    def _add(self) -> None:
        with self._lock:
            for i, package in enumerate(self._packages):
                now = _number(package / "energy_uj")
                gone = now - self._last[i]
                self._microjoules += gone if gone >= 0 else gone + _number(package / "max_energy_range_uj")
                self._last[i] = now

    def _gpu_joules(self) -> float | None:
        torch = sys.modules.get("torch")
        if not self._gpus or torch is None or not torch.cuda.is_available():
            return None  # a stage without torch uses no GPU
        mine = {f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(torch.cuda.device_count())}
        after, self.gpu_why = _gpus()
        if not mine <= set(after):
            self.gpu_why = "NVML does not know the GPUs in use"
            return None
        return round(sum(after[g] - self._gpus[g] for g in mine) / 1e3, 3)


def _packages(powercap: Path) -> tuple[list[Path], str]:
    """Return the processor packages whose energy can be read, or why there is none."""
    found = sorted(p for p in powercap.glob("intel-rapl:*") if p.name.count(":") == 1)
    if not found:
        return [], "no RAPL on this machine"
    try:
        for package in found:
            _number(package / "energy_uj"), _number(package / "max_energy_range_uj")
    except (OSError, ValueError):
        return [], "RAPL can be read by root only"
    return found, ""


def _number(path: Path) -> int:
    return int(path.read_text())


def _gpus() -> tuple[dict[str, int], str]:
    """Return the millijoules that every GPU has used since its driver was loaded, by UUID, or why they are not known."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}, "no NVIDIA driver"
    if nvml.nvmlInit_v2():
        return {}, "NVML does not start"
    found: dict[str, int] = {}
    count, handle, total = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = ctypes.create_string_buffer(96)
    failed = nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for i in range(0 if failed else count.value):
        failed = failed or nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(handle))
        failed = failed or nvml.nvmlDeviceGetUUID(handle, uuid, len(uuid))
        failed = failed or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(total))
        if not failed:
            found[uuid.value.decode()] = total.value
    nvml.nvmlShutdown()
    return ({}, "these GPUs do not tell their energy") if failed else (found, "" if found else "no GPU")
