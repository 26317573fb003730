"""The last lines of a run: where its report is, and what it cost, from the manifests of all that stands in its folder.

print(summary("results/demo", time.monotonic()))
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from jmlr.runtime.counting import count_of
from jmlr.runtime.duration import duration
from jmlr.runtime.manifest import NAME


def summary(run: str, begun: float) -> str:
    """Return the lines that end a run.

    Args:
        run: folder of the run; every manifest.json under it is one job
        begun: when this call of the workflow began, by time.monotonic()
    """
    paths = sorted(Path(run).rglob(NAME))
    jobs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    seconds, gpu_hours = (sum(job[key] for job in jobs) for key in ("seconds", "gpu_hours"))
    peak, stage = max(((job["peak_bytes"], job["stage"]) for job in jobs), default=(0, "none"))
    folder = Path(run, "report")
    made = (folder / NAME).stat().st_mtime if (folder / NAME).is_file() else 0.0
    fresh = made and all(path.stat().st_mtime <= made for path in paths)  # what is older is not this run's any more
    lines = (
        [(folder / "table.txt").read_text(encoding="utf-8"), f"report: {(folder / 'report.html').absolute()}"]
        if fresh
        else []
    )
    return "\n".join([
        *lines,
        f"cost: {duration(time.monotonic() - begun)} of wall time for this call; the run's {count_of(len(jobs), 'job')}: {duration(seconds)}"
        f" of computing, {gpu_hours:.2f} GPU hours, peak memory {peak / 2**30:.1f} GiB ({stage})",
    ])  # fmt: skip
