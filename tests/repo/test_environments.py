"""One set of versions for pip, conda and pyproject.toml; the environments of the rules, and what installs the package in them."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "envs").glob("*.yaml"))}
# conda package -> pip package, where the names differ
CONDA = {
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "matplotlib-base": "matplotlib",
    "snakemake-minimal": "snakemake",
    "python-xxhash": "xxhash",
}
BUILD = {"python", "pip", "cxx-compiler", "cuda-version"}  # not from pip
NOT_NAMED = {
    "ir-measures",
    "mteb",
    "httpx2",
    "filelock",
}  # tests skip without the first two; the others come with huggingface_hub
BIOCONDA = {"snakemake-minimal", "snakemake-executor-plugin-slurm", "snakefmt"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(environment: str) -> dict[str, str]:
    """Return the packages of an environment by pip's names, with their versions."""
    pairs = [entry.partition("=") for entry in ENVIRONMENTS[environment]["dependencies"]]
    return {canonical(CONDA.get(name, name)): version for name, _, version in pairs}


def constraints() -> dict[str, str]:
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    return {canonical(k): v for k, v in (line.split("==") for line in lines if "==" in line)}


def required(*extras: str) -> dict[str, tuple[int, ...]]:
    """Return what pyproject.toml requires for some extras and those that they name, with the least version."""
    wanted, queue = list(PROJECT["dependencies"]), list(extras)
    while queue:
        for entry in PROJECT["optional-dependencies"][queue.pop()]:
            named = re.fullmatch(rf"{PROJECT['name']}\[(.*)\]", entry)
            queue += named[1].split(",") if named else []
            wanted += [] if named else [entry]
    pairs = [entry.split(">=") for entry in wanted]
    return {canonical(name): numbers(least) for name, least in pairs}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version))


def test_there_is_an_environment_for_each_kind_of_hardware_and_one_for_work():
    """Fix: Name a new envs/*.yaml in this test, or remove the file."""
    assert set(ENVIRONMENTS) == {"cpu", "cuda", "dev"}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_package_of_an_environment_has_an_exact_version(name):
    """Fix: Write `name=1.2.3` in envs/*.yaml, in conda-forge's spelling."""
    entries = ENVIRONMENTS[name]["dependencies"]
    assert all(re.fullmatch(r"[a-z0-9_-]+=\d[\w.]*", entry) for entry in entries), entries


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_holds_what_the_package_needs_in_the_versions_that_pip_takes(name):
    """Fix: Give envs/*.yaml the version of envs/constraints.txt, and each what its extras in pyproject.toml name."""
    extras = ("all", "slurm", "test", "lint") if name == "dev" else ("train", "report")
    own, pins = packages(name), constraints()
    for package, least in required(*extras).items():
        if package in NOT_NAMED:
            continue
        assert own[package] == pins[package], package
        assert numbers(own[package]) >= least, package
    assert {p for p in own if p not in pins} <= BUILD


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_packages_come_from_channels_that_have_them(name):
    """Fix: Begin `channels` with conda-forge, end with nodefaults, and name bioconda where Snakemake comes from there."""
    channels, entries = (
        ENVIRONMENTS[name]["channels"],
        {e.partition("=")[0] for e in ENVIRONMENTS[name]["dependencies"]},
    )
    assert channels[0] == "conda-forge"
    assert channels[-1] == "nodefaults"
    assert ("bioconda" in channels) == bool(entries & BIOCONDA)


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_the_environments_of_rules_install_the_package_without_touching_its_dependencies(name):
    """Fix: Keep `--no-deps` in envs/*.post-deploy.sh, and the file executable (chmod +x)."""
    script = ROOT / f"envs/{name}.post-deploy.sh"
    assert os.access(script, os.X_OK)
    [line] = [line for line in script.read_text().splitlines() if "pip install" in line]
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(line.split())


def test_everyone_who_runs_the_workflow_gets_all_of_it():
    """Fix: Install '.[all]', or '.[all,...]', in the Makefile and in docs/slurm.md."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "--editable" in line]
    assert len(lines) == 4
    assert all("'.[all" in line for line in lines)
    assert "-e '.[all,slurm]'" in (ROOT / "docs/slurm.md").read_text()
    assert {"torch", "matplotlib", "snakemake", "pyarrow"} <= set(required("all"))


def test_the_rules_use_these_environments_and_no_others():
    """Fix: Say `conda: TORCH_ENV` in a rule that uses torch, else "../../envs/cpu.yaml"."""
    named = {m for f in (ROOT / "workflow/rules").glob("*.smk") for m in re.findall(r"envs/(\w+)\.yaml", f.read_text())}
    assert named == {"cpu"}  # and, by JMLR_HARDWARE, cuda
    assert "JMLR_HARDWARE" in (ROOT / "workflow/rules/common.smk").read_text()


def test_the_container_holds_the_environments_and_sources_as_they_are():
    """Fix: Let envs/apptainer.def name files of the tree, Snakemake's version of envs/dev.yaml, and pip's line of envs/cpu.post-deploy.sh."""
    text = (ROOT / "envs/apptainer.def").read_text()
    parts = dict(re.findall(r"^%(\w+)\n((?:    .*\n)+)", text, re.M))
    copied = [line.split() for line in parts["files"].splitlines()]
    assert all((ROOT / name).exists() and target == "/opt/jmlr/" + "docs/" * ("/" in name) for name, target in copied)
    assert {"pyproject.toml", "src", "csrc", "envs", "workflow", "Snakefile", "config", "profiles"} <= {
        n for n, _ in copied
    }
    assert parts["arguments"].strip() == "hardware=cpu"
    assert "--file /opt/jmlr/envs/{{ hardware }}.yaml" in parts["post"]
    assert set(ENVIRONMENTS) >= {"cpu", "cuda"}
    [snakemake] = re.findall(r"snakemake-minimal=(\S+)", parts["post"])
    assert snakemake == packages("dev")["snakemake"]
    [own] = [line for line in (ROOT / "envs/cpu.post-deploy.sh").read_text().splitlines() if "pip install" in line]
    assert own in parts["post"]
