"""Which system a joint one is compared with: what is told as a gain of joint training must not be one of fine-tuning."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jmlr.report.load import System
from jmlr.report.pool import counterpart, without_passages


def system(name, rounds=1, llm="llm", retriever="r", **train):
    return System(name, name, llm, retriever, rounds, {"passages": 2, "target": "frozen", **train})


JOINT = system("jmlr", rounds=2, target="llm_rank")
ZERO = system("zero_rag", rounds=0)
SHUT = system("zero", rounds=0, passages=0)


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ([ZERO, system("rag")], "rag"),  # whatever their order in the table
        ([system("rag"), ZERO], "rag"),
        ([system("untouched", steps=0), system("rag")], "rag"),
        ([ZERO], None),  # a model as it is: the gain would be that of fine-tuning
        ([system("rag", retriever="other")], None),
        ([system("rag", llm="other")], None),
    ],
)
def test_a_joint_system_is_compared_with_one_that_was_trained_with_the_same_retriever_frozen(others, name):
    found = counterpart(SimpleNamespace(systems=[SHUT, *others, JOINT]), JOINT)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("reading", "name"),
    [(system("rag"), "closed_book"), (ZERO, "zero"), (system("rag", llm="other"), None)],
)
def test_what_passages_add_is_told_beside_a_closed_book_that_was_trained_as_the_reader_was(reading, name):
    systems = [SHUT, system("continued", llm="corpus", passages=0), system("closed_book", passages=0), reading]
    found = without_passages(SimpleNamespace(systems=systems), reading)
    assert (found and found.name) == name
