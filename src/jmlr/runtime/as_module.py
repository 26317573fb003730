"""The workflow as a `module:` of another one, which may rename its rules, has rules of its own, and whose hooks alone are called.

jobs = own_jobs(rules, workflow.dag.needrun_jobs())     # ours among them, by the names of their stages
add_start(workflow, start)                              # what `onstart:` of the main workflow does by itself
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from jmlr.runtime.stages import STAGES

READ = ("params", "wildcards", "resources", "threads")


def own_jobs(rules: Any, jobs: Iterable[Any]) -> list[SimpleNamespace]:
    """Return the jobs of stages, each with the name of its stage.

    Args:
        rules: Snakemake's of this workflow, which knows them by the names in its own files
        jobs: Snakemake's
    """
    stages = {getattr(rules, stage).rule.name: stage for stage in STAGES if rules.has(stage)}
    ours = [job for job in jobs if job.rule.name in stages]
    return [SimpleNamespace(name=stages[j.rule.name], **{key: getattr(j, key) for key in READ}) for j in ours]


def add_start(workflow: Any, start: Callable[[], object]) -> None:
    """Call a function when a run begins, after what was to be called until now; an `onstart:` that is read later takes its place."""
    before = workflow._onstart  # Snakemake 9.27.1 has no public way

    def both(log: Any) -> None:
        before(log)
        start()

    workflow._onstart = both
