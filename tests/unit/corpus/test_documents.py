"""Reading documents: spans that fit their text, plain text, and cloze documents that hold their own answer."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from jmlr.corpus.chunks import Chunks
from jmlr.corpus.cloze import GAP, cloze_documents
from jmlr.corpus.documents import plain_documents, read_documents
from jmlr.corpus.fields import Fields
from jmlr.corpus.passages import FIELDS, Gold, PassageWriter
from jmlr.corpus.record import Record
from jmlr.runtime.errors import UserError
from toys import PROMPTS

PROMPTS = PROMPTS.model_dump()
COMMON = ["the", "patient", "is", "often", "seen", "with", "some", "kind", "of"]


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    rng = random.Random(0)
    rows = []
    for i in range(60):
        text = [f"{' '.join(rng.choices(COMMON, k=8))} rareword{i}x{j} and more.".capitalize() for j in range(6)]
        rows.append(Record({"id": i, "title": f"T{i}" if i % 2 else "", "text": " ".join(text)}, ""))
    writer = PassageWriter(tmp_path, Chunks(), Gold(), deduplicate=False)
    writer.add(rows, Fields(FIELDS), "s")
    writer.finish()
    return tmp_path / "passages.parquet"


def target(document: dict[str, Any]) -> str:
    [span] = document["targets"]
    return document["text"][span["start"] : span["end"]]


def test_cloze_documents_hold_the_answer_in_one_of_their_passages(passages: Path) -> None:
    found = list(cloze_documents(passages, 200, PROMPTS, seed=0))
    assert len(found) == 200
    counts = set()
    for document in found:
        lines = document["text"].split("\n")
        references = [line for line in lines if line.startswith("Reference: ")]
        counts.add(len(references))
        assert lines[len(references)].startswith("Question: ")
        assert GAP in lines[len(references)]
        assert lines[-1] == f"Answer: {target(document)}"  # and no line break: the end-of-text token comes next
        asked = lines[len(references)].removeprefix("Question: ").replace(GAP, target(document))
        assert sum(asked in r for r in references) == 1
        assert target(document) not in lines[len(references)]
        assert all(len(r.split()) <= 61 for r in references)  # 60 and the word 'Reference:'
    assert counts == {1, 2, 3}


def test_cloze_documents_are_written_in_the_run_s_prompts(passages: Path) -> None:
    prompts = {
        "passage_prompt": "<{title}> {passage}\n",
        "question_prompt": "Fill in: {question}\n{options}",
        "answer_prompt": "=> ",
    }
    found = list(cloze_documents(passages, 50, prompts, seed=0))
    plain = list(cloze_documents(passages, 50, PROMPTS, seed=0))
    for document, other in zip(found, plain, strict=True):
        *references, asked, answer = document["text"].split("\n")
        assert all(re.match(r"<(T\d+)?> [A-Z]", r) for r in references)
        assert asked.startswith("Fill in: ")
        assert answer == f"=> {target(document)}"
        texts = [r.partition("> ")[2] for r in references]
        assert texts == [line.removeprefix("Reference: ") for line in other["text"].split("\n")[: len(references)]]


def test_the_words_asked_for_are_rare_ones(passages: Path) -> None:
    asked = [target(d) for d in cloze_documents(passages, 200, PROMPTS, seed=0)]
    assert sum(word.startswith("rareword") for word in asked) == 200


def test_cloze_documents_follow_from_the_seed(passages: Path) -> None:
    first = list(cloze_documents(passages, 20, PROMPTS, seed=0))
    assert list(cloze_documents(passages, 20, PROMPTS, seed=0)) == first
    assert list(cloze_documents(passages, 20, PROMPTS, seed=1)) != first


def test_passages_without_a_sentence_to_ask_for_are_an_error(tmp_path: Path) -> None:
    writer = PassageWriter(tmp_path, Chunks(), Gold())
    writer.add([Record({"id": 1, "text": "Too short."}, "")], Fields(FIELDS), "s")
    writer.finish()
    with pytest.raises(UserError, match="a sentence of 6 to 40 words"):
        list(cloze_documents(tmp_path / "passages.parquet", 1, PROMPTS, seed=0))


def test_plain_documents_are_the_passages(passages: Path) -> None:
    found = list(plain_documents(passages))
    assert len(found) == 60
    assert all(d["targets"] == [] and d["text"] for d in found)


def test_documents_keep_their_text_to_the_character() -> None:
    record = Record({"text": " a bc\n", "targets": [[3, 5]]}, "")
    assert list(read_documents([record], "s")) == [{"text": " a bc\n", "targets": [{"start": 3, "end": 5}]}]
    assert next(read_documents([Record({"text": "a", "targets": [{"start": 0, "end": 1}]}, "")], "s"))["targets"]
    assert next(read_documents([Record({"text": "a"}, "")], "s"))["targets"] == []


@pytest.mark.parametrize("span", [[0, 7], [3, 3], [-1, 2], [1], "ab", [0.0, 1.0]])
def test_a_target_outside_its_text_is_refused(span: Any) -> None:
    with pytest.raises(UserError, match=r"f: line 1: a target is not .start, end. with 0 <= start < end <= 6"):
        list(read_documents([Record({"text": "secret", "targets": [span]}, "f: line 1")], "s"))


def test_a_document_without_text_and_a_file_without_documents_are_refused() -> None:
    with pytest.raises(UserError, match="f: line 1: no text"):
        list(read_documents([Record({"targets": []}, "f: line 1")], "s"))
    with pytest.raises(UserError, match="s: no documents"):
        list(read_documents([], "s"))


def test_all_that_is_wrong_with_reading_documents_is_told_in_one_go() -> None:
    rows = [
        {"text": "a"},
        {"text": ""},
        {"text": "b", "targets": [[0, 9]]},
        {"text": 7},
        {"text": "c", "targets": [[2, 1]]},
    ]
    with pytest.raises(UserError) as caught:
        list(read_documents((Record(r, f"f: line {n}") for n, r in enumerate(rows, 1)), "s"))
    assert str(caught.value).splitlines() == [
        "s: 4 faults in 5 records; every kind with its number and its first place:",
        "  2 x f: line 2: no text; allowed: {text, targets}",
        "  2 x f: line 3: a target is not [start, end] with 0 <= start < end <= 1, the length of the text",
    ]
