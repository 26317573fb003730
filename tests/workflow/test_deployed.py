"""What `snakedeploy deploy-workflow` writes, a Snakefile that takes this workflow from GitHub by a tag, plans the whole demo.

GitHub is a folder here: git puts its path in place of https://github.com/ (`url.<base>.insteadOf`), for snakedeploy and Snakemake.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from checkout import ROOT, failure, jobs_of

ADDRESS, TAG = "https://github.com/someone/jmlr", "v0.1.0"
# As snakedeploy 0.17.1 writes it, for machines without it.
WRITTEN = f"""configfile: "config/config.yaml"

module jmlr:
    snakefile:
        github("someone/jmlr", path="workflow/Snakefile", tag="{TAG}")
    config:
        config

use rule * from jmlr
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Put the workflow, under a tag, where git then looks for it when it is asked for GitHub; return the variables that say so."""
    clone = tmp_path / "hub/someone/jmlr"
    for name in ("workflow", "config", "profiles", "envs"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copy(ROOT / "LICENSE", clone)
    me = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "all"], ["tag", TAG]):
        subprocess.run(["git", *words], cwd=clone, check=True)
    instead = {"GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/hub/.insteadOf", "GIT_CONFIG_VALUE_0": "https://github.com/"}
    own = {"GIT_CONFIG_COUNT": "1", **instead, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {k: v for k, v in {**os.environ, **own, "PATH": path}.items() if k != "GITHUB_TOKEN"}


@pytest.mark.parametrize("by", ["hand", "snakedeploy"])
def test_a_deployed_workflow_plans_the_demo(tmp_path: Path, environment: dict[str, str], by: str) -> None:
    folder = tmp_path / "deployed"
    if by == "hand":
        shutil.copytree(ROOT / "config", folder / "config")
        (folder / "workflow").mkdir()
        (folder / "workflow/Snakefile").write_text(WRITTEN)
    else:
        if not (command := shutil.which("snakedeploy", path=environment["PATH"])):
            pytest.skip("no snakedeploy: pip install snakedeploy (Python 3.11 or 3.12)")
        deploy = [command, "deploy-workflow", ADDRESS, str(folder), "--tag", TAG]
        subprocess.run(deploy, env=environment, capture_output=True, check=True)
        code = [line for line in WRITTEN.splitlines() if line]
        assert [line.rstrip() for line in (folder / "workflow/Snakefile").read_text().splitlines()
                if line and not line.startswith(("#", "from ", "min_version"))] == code  # fmt: skip
    done = subprocess.run(
        ["snakemake", "--cores", "1", "--dry-run"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, failure(done)
    jobs = jobs_of(done.stdout + done.stderr)
    assert (jobs["train"], jobs["answer"], jobs["report"]) == (5, 3, 1)
    assert "the retriever from S = " in done.stdout + done.stderr


def test_the_catalogue_finds_what_it_asks_for() -> None:
    """As scripts/generate-catalog.py of snakemake-workflow-catalog reads a repository with a folder `workflow`."""
    said = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(said) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(said["mandatory-flags"]) == {"desc", "flags"}
    assert all(isinstance(v, bool) for v in said["software-stack-deployment"].values())
    assert (ROOT / "workflow/Snakefile").is_file()
    assert {"snakemake", "workflow"} <= set((ROOT / "README.md").read_text().lower().split())
    assert (ROOT / "config/README.md").read_text().startswith("# Configuration\n")
