"""Only what changed runs again: one edit at a time in a finished run, and exactly the jobs that a dry run then lists."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from checkout import MINI, Checkout, failure

pytestmark = pytest.mark.slow

END = {"answer": 3, "evaluate": 3, "report": 1}
FROM_TRAIN = {"train": 4, "encode": 6, "index": 2, "search": 6, **END}
FROM_JMLR = {**FROM_TRAIN, "train": 2, "answer": 1, "evaluate": 1}  # no other system encodes anew
FROM_INDEX = {**FROM_TRAIN, "index": 3, "search": 9, "train": 3, "answer": 2, "evaluate": 2}  # the closed book stands
ALL_BUT_FETCH = {"prepare": 1, "pretrain": 2, "encode": 9, "index": 3, "search": 9, "train": 4, **END}

EDITS = [  # what is edited, file, old text, new text, the jobs that run again
    ("a comment in the joint step", "src/jmlr/training/step.py", "\n\n", "\n\n# A remark.\n", {}),
    ("a docstring of the loss", "src/jmlr/losses/llm_rank.py", '"""', '"""In other words: ', {}),
    ("a comment in the extension", "csrc/topk.cpp", "\n", "\n// A remark.\n", {}),
    ("a comment in the configuration", MINI, "\n", "\n# A remark.\n", {}),
    ("a comment in a rule", "workflow/rules/train.smk", "rule train:", "# A remark.\nrule train:", {}),
    ("a sentence of the documentation", "docs/llm_rank.md", "\n", "\nA remark.\n", {}),
    ("a word of a warning", "src/jmlr/stages/train.py", "forgets what it knew", "forgets it all", {}),
    ("a word of a model card", "src/jmlr/models/card.py", "Not for clinical use", "For no clinical use", {}),
    ("a loss that no system has", "src/jmlr/losses/pdist.py", "def pdist(", "@same\ndef pdist(", {}),
    ("a function that nothing uses", "src/jmlr/models/colbert.py", "\ndef _marker", "\ndef more(): ...\n\n\ndef _marker", {}),
    ("a word of a kind's card", "src/jmlr/models/kinds/dense.py", "Dense retriever\"", "A dense retriever\"", {}),
    ("the extension", "csrc/topk.cpp", "namespace jmlr {", "namespace jmlr {\nconstexpr int kAdded = 1;", {}),
    ("a kernel for GPUs", "csrc/cuda/exact.cuh", "\n", "\nconstexpr int kAdded = 1;\n", {}),
    ("the warnings of a training", "src/jmlr/training/watch.py", "def look(", "def more(self): ...\n\n    def look(", {}),
    ("an option added with a default", "src/jmlr/options/train.py", "    wandb: str", "    nobody_reads_it: bool = option(False, '')\n    wandb: str", {}),
    ("an option of sources added", "src/jmlr/options/data.py", "    delimiter: ", "    nobody_reads_it: bool = option(False, '')\n    delimiter: ", {}),
    ("the loss itself", "src/jmlr/losses/llm_rank.py", "def llm_rank(", "@same\ndef llm_rank(", FROM_JMLR),
    ("the joint step", "src/jmlr/training/step.py", "def joint_step(", "@same\ndef joint_step(", FROM_TRAIN),
    ("a metric", "src/jmlr/metrics/recall.py", "def recall(", "@same\ndef recall(", {"evaluate": 3, "report": 1}),
    ("the contract of top-k", "src/jmlr/topk/contract.py", "CONTRACT = 1", "CONTRACT = 2", FROM_INDEX),
    ("a training option", MINI, "train: {steps: 4,", "train: {lora_alpha: 8, steps: 4,", FROM_TRAIN),
    ("an option of the retriever's training", MINI, "samples: 4}", "samples: 5}", FROM_JMLR),
    ("an option of one system", MINI, "learning_rate: 0.002", "learning_rate: 0.001", FROM_JMLR),
    ("an option of the report", MINI, "examples: 0", "examples: 0, title: Mini", {"report": 1}),
    ("an evaluation option", MINI, "bootstrap: 200", "bootstrap: 100", {"evaluate": 3, "report": 1}),
    ("one line of the corpus", "tests/workflow/notes.jsonl", "Two glasses", "Three glasses", {"fetch": 1, **ALL_BUT_FETCH}),
    ("the report's template", "src/jmlr/report/page.html.jinja", "</body>", "<!-- a remark --></body>", {"report": 1}),
    ("an environment that is not in use", "envs/cpu.yaml", "python=3.12", "python=3.11", {}),
]  # fmt: skip


@contextmanager
def edited(copy: Checkout, name: str, old: str, new: str) -> Iterator[None]:
    """Edit a file of the copy, at the first place where the old text stands; put it back afterwards."""
    path = copy.folder / name
    before = path.read_text()
    assert old in before, f"{name} has no '{old}'"
    path.write_text(before.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(before)


@pytest.mark.parametrize(("what", "name", "old", "new", "jobs"), EDITS, ids=[e[0] for e in EDITS])
def test_an_edit_reruns_exactly_what_depends_on_it(finished: Checkout, what, name, old, new, jobs):
    with edited(finished, name, old, new):
        assert finished.planned() == jobs


def test_touching_files_without_changing_them_reruns_nothing(finished: Checkout):
    touched = 0
    for part in ("src", "csrc", "workflow", "config", "envs", "tests", "Snakefile", "results/mini"):
        path = finished.folder / part
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and file.name != ".snakemake_timestamp":
                os.utime(file)
                touched += 1
    assert touched > 300
    assert finished.planned() == {}


def test_other_hardware_reruns_nothing(finished: Checkout):
    resources = (
        "--set-resources",
        "train:gpu=4",
        "answer:gpu=2",
        "train:mem_mb=9000",
        "encode:runtime=7",
        "--set-threads",
        "train=2",
    )
    assert finished.planned(*resources) == {}


CONDA = """#!/bin/sh
case "$1" in
  --version) echo conda 25.1.0 ;;
  info) echo '{"conda_version": "25.1.0", "platform": "linux-64", "conda_prefix": "/opt/conda", "channels": []}' ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
  *) exit 1 ;;
esac
"""


def test_an_environment_in_use_reruns_its_stages_and_what_they_feed(finished: Checkout, tmp_path):
    """Snakemake asks conda what it is, and nothing more, as long as no environment is made."""
    copy = Checkout(tmp_path / "clone")
    subprocess.run(["cp", "-a", f"{finished.folder}/results", f"{finished.folder}/.snakemake", copy.folder], check=True)
    (copy.folder / "build/site/conda").write_text(CONDA)
    (copy.folder / "build/site/conda").chmod(0o755)
    copy.extra = {"PATH": f"{copy.folder / 'build/site'}:{copy.environment['PATH']}", "JMLR_HARDWARE": "cuda"}
    conda = ("--sdm", "conda")
    done = copy.snakemake(*conda, "--touch")
    assert done.returncode == 0, failure(done)
    assert copy.planned(*conda) == {}
    with edited(copy, "envs/cuda.yaml", "python=3.12", "python=3.11"):
        assert copy.planned(*conda) == {k: v for k, v in ALL_BUT_FETCH.items() if k != "prepare"}
    with edited(copy, "envs/cpu.yaml", "python=3.12", "python=3.11"):
        assert copy.planned(*conda) == {"fetch": 2, **ALL_BUT_FETCH}
