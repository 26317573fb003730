"""Only what changed runs again: one edit at a time in a finished run, and exactly the jobs that a dry run then lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from checkout import MINI, Checkout

pytestmark = pytest.mark.slow

END = {"answer": 3, "evaluate": 3, "report": 1}
FROM_TRAIN = {"train": 4, "encode": 6, "index": 2, "search": 6, **END}
# Training may search too (live candidates), so the extension is part of its code; round 0's vectors stand.
FROM_INDEX = {"index": 3, "search": 9, "train": 4, "encode": 6, **END}
ALL_BUT_FETCH = {"prepare": 1, "pretrain": 2, "encode": 9, "index": 3, "search": 9, "train": 4, **END}

EDITS = [  # what is edited, file, old text, new text, the jobs that run again
    ("a comment in the joint step", "src/jmlr/training/step.py", "\n\n", "\n\n# A remark.\n", {}),
    ("a docstring of the loss", "src/jmlr/losses/llm_rank.py", '"""', '"""In other words: ', {}),
    ("a comment in the extension", "csrc/topk.cpp", "\n", "\n// A remark.\n", {}),
    ("a comment in the configuration", MINI, "\n", "\n# A remark.\n", {}),
    ("a comment in a rule", "workflow/rules/train.smk", "rule train:", "# A remark.\nrule train:", {}),
    ("a sentence of the documentation", "docs/llm_rank.md", "\n", "\nA remark.\n", {}),
    ("the loss itself", "src/jmlr/losses/llm_rank.py", "\ndef ", "\nADDED = 1\n\n\ndef ", FROM_TRAIN),
    ("a metric", "src/jmlr/metrics/recall.py", "\ndef ", "\nADDED = 1\n\n\ndef ", {"evaluate": 3, "report": 1}),
    ("the extension", "csrc/topk.cpp", "namespace jmlr {", "namespace jmlr {\nconstexpr int kAdded = 1;", FROM_INDEX),
    ("a training option", MINI, "train: {steps: 4,", "train: {lora_alpha: 8, steps: 4,", FROM_TRAIN),
    ("an option of one system", MINI, "evaluate:", "report: {title: Mini}\nevaluate:", {"report": 1}),
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
    resources = ("--set-resources", "train:gpu=4", "train:mem_mb=9000", "encode:runtime=7", "--set-threads", "train=2")
    assert finished.planned(*resources) == {}
