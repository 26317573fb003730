"""Answers do not depend on how many ranks share the questions, nor on whether the model is cut over them. Real tiny runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import answering_rank
from jmlr.models.llm import add_adapter, load_llm, load_to_answer, save_adapter
from jmlr.options import AnswerOptions
from jmlr.runtime.job_options import values
from ranks import failed, finished, torchrun
from toys import rewrite, toy_reading

WRITTEN = {"method": "generate", "reply_tokens": 7}
THOUGHT = {"method": "generate", "rationale": True, "rationale_tokens": 12}
CASES = {  # name: (options, how it reads, has an adapter)
    "cut": ({"shard_llm": True}, {}, True),
    "cut_texts": ({"shard_llm": True, "option_score": "mean"}, {"answer_form": "text"}, True),
    "cut_half": ({"shard_llm": True}, {"llm_precision": "bfloat16"}, True),
    "cut_base": ({"shard_llm": True}, {}, False),
    "cut_written": ({"shard_llm": True, **WRITTEN}, {}, True),
    "cut_thought": ({"shard_llm": True, **THOUGHT}, {}, True),
    "whole": ({}, {"answer_form": "text"}, True),
    "whole_written": (WRITTEN, {}, True),
}


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Return the output of a training whose adapter changes every answer."""
    folder = tmp_path_factory.mktemp("trained")
    llm, _ = load_llm(str(tiny / "llm"))
    llm = add_adapter(llm, rank=4, alpha=8, dropout=0.0, targets=["all-linear"], modules=["embed_tokens"])
    torch.manual_seed(0)
    for p in llm.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.2)
    save_adapter(llm, folder / "adapter")
    return folder


def only(prepared: Path, folder: Path, count: int) -> Path:
    """Return a copy of a prepared folder with so many questions to answer."""
    shutil.copytree(prepared, folder)
    table = pq.read_table(folder / "questions.parquet")
    asked = [i for i, split in enumerate(table["split"].to_pylist()) if split == "test"]
    rewrite(folder / "questions.parquet", table.take(asked[:count]))
    return folder


@pytest.fixture(scope="module")
def both(tiny, candidates, trained, tmp_path_factory):
    """Answer every case by one process and by two ranks; batches of 3 are three for 8 questions, so one rank has more."""
    root = tmp_path_factory.mktemp("answering")
    one = only(tiny / "prepare", root / "one_question", 1)
    cases = [
        {"name": name, "prepared": tiny / "prepare", "options": options, "reading": reading, "adapter": adapter}
        for name, (options, reading, adapter) in CASES.items()
    ]
    for name in ("cut_written", "cut"):
        options, reading, adapter = CASES[name]
        cases.append(
            {"name": f"{name}_one", "prepared": one, "options": options, "reading": reading, "adapter": adapter}
        )
    for ranks in ("one", "two"):
        given = [
            {"out": str(root / ranks / c["name"]), "prepared": str(c["prepared"]), "llm": str(tiny / "llm"), "passages": 3,
             "searches": [str(candidates)], **({"trained": [str(trained)]} if c["adapter"] else {}),
             "options": {"answer_batch": 3, **c["options"]}, "reading": c["reading"]}
            for c in cases
        ]  # fmt: skip
        (root / ranks).mkdir()
        (root / ranks / "cases.json").write_text(json.dumps(given))
        program = str(Path(answering_rank.__file__))
        place = str(Path(program).parent)
        if ranks == "one":
            answering_rank.main(root / "one/cases.json")
        else:
            finished(torchrun(root / "two/cases.json", program=[program]), PYTHONPATH=place)
    return root


def rows(both, ranks, name):
    return pq.read_table(both / ranks / name / "answers.parquet").to_pylist()


def about(both, ranks, rank, name):
    return next(t for t in json.loads((both / ranks / f"about-{rank}.json").read_text()) if t["out"] == name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "cut_one", "cut_written_one"])
def test_two_ranks_answer_as_one(both, name):
    one, two = rows(both, "one", name), rows(both, "two", name)
    assert len(one) == (1 if name.endswith("_one") else 8)
    tolerance = 2e-2 if "half" in name else 1e-5
    for a, b in zip(one, two, strict=True):
        for floats in ("scores", "probabilities"):
            assert a.pop(floats) == pytest.approx(b.pop(floats), rel=tolerance, abs=tolerance), a["question_id"]
        assert a == b
    notes = [json.loads((both / n / name / "manifest.json").read_text())["notes"] for n in ("one", "two")]
    assert [n.pop("ranks") for n in notes] == [1, 2]
    assert notes[0] == notes[1]


@pytest.mark.slow
def test_an_adapter_changes_the_answers_of_a_model_that_is_cut(both):
    scores = [[r["scores"] for r in rows(both, "two", name)] for name in ("cut", "cut_base")]
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_each_rank_holds_half_of_the_model_adapter_included(both, tiny, trained):
    llm, _ = load_to_answer(str(tiny / "llm"), trained / "adapter", precision="float32", tokens=64)
    whole = sum(p.numel() for p in llm.parameters())
    (one,), (other,) = (about(both, "two", rank, "cut")["held"] for rank in (0, 1))
    assert one + other == whole
    assert max(one, other) < 0.55 * whole
    assert about(both, "two", 0, "whole")["held"] == []


@pytest.mark.slow
def test_a_rank_without_a_question_takes_part_in_the_passes_of_the_other(both):
    """Two passes for options of several tokens, one for each token that is written; without the turns this hangs."""
    assert [about(both, "two", rank, "cut_one")["idle"] for rank in (0, 1)] == [0, 2]
    assert 2 < about(both, "two", 1, "cut_written_one")["idle"] <= WRITTEN["reply_tokens"]


@pytest.mark.slow
def test_a_rank_that_fails_ends_all_with_one_line_and_writes_nothing(tiny, tmp_path):
    """The second rank finds no model; the first one, which waits for it, is ended."""
    (tmp_path / "options.yaml").write_text(values(AnswerOptions(shard_llm=True), toy_reading()))
    words = [
        "answer",
        "--out",
        tmp_path / "out",
        "--prepared",
        tiny / "prepare",
        "--options",
        tmp_path / "options.yaml",
    ]
    shell = f'[ "$RANK" = 0 ] && llm={tiny}/llm || llm={tiny}/nothing; exec "$@" --llm "$llm"'
    program = ["--no-python", "bash", "-c", shell, "rank", sys.executable, "-m", "jmlr"]
    lines = failed(torchrun(*words, program=program)).splitlines()
    [own] = [line for line in lines if line.startswith("jmlr answer: ")]
    assert own.startswith(f"jmlr answer: language model '{tiny}/nothing'")
    assert own in [line for line in lines if line.strip("=- ")][-1]
    assert not (tmp_path / "out").exists()
