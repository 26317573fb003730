"""Exams that people test on now are read as the hub's library writes them, from the hub's Parquet, and from the authors' files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from published import asked, lines, parquet, read_gzip, run, write

from jmlr.options.cards import FOLDER, read_card
from jmlr.runtime.manifest import read_manifest

DRUGS = {"A": "Gentamicin", "B": "Ciprofloxacin", "C": "Ceftriaxone", "D": "Trimethoprim", "E": "Penicillin"}
TEN = dict(zip("ABCDEFGHIJ", (f"{n} Gy" for n in range(50, 60)), strict=True))


def table(*rows: dict[str, Any]) -> str:
    """Return a CSV file with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(folder: Path, name: str, counts: dict[str, int]) -> list[dict[str, Any]]:
    """Read a set from the folder raw by its card; its counts are those of the small files."""
    run(folder, {name: {"path": str(folder / "raw")}}, {"dataset": name, "counts": counts})
    assert read_manifest(folder / "prepare")["notes"]["questions"] == {name: counts}
    return asked(folder)


# --------------------------------------------------------------------------------------------------------------- MedXpertQA
XPERT = {"id": "Text-6", "question": f"What dose is right?\nAnswer Choices: {' '.join(f'({k}) {v}' for k, v in TEN.items())}",
         "options": TEN, "label": "H", "medical_task": "Treatment", "body_system": "Nervous", "question_type": "Understanding"}  # fmt: skip


@pytest.mark.parametrize("edition", ["hub", "parquet", "clone"])
def test_medxpertqa_loses_the_options_at_the_end_of_its_questions(tmp_path: Path, edition: str) -> None:
    """Form: records of the hub's Text/test.jsonl and its card (huggingface.co/datasets/TsinghuaC3I/MedXpertQA)."""
    rows = {"dev": [{**XPERT, "id": "Text-1"}], "test": [XPERT]}
    if edition == "parquet":
        parquet(tmp_path / "raw", {f"Text/{s}-00000-of-00001.parquet": r for s, r in rows.items()})
    else:
        where, images = ("", {}) if edition == "hub" else ("Text/", {f"MM/{s}.jsonl": lines(XPERT) for s in rows})
        write(tmp_path / "raw", {**{f"{where}{s}.jsonl": lines(*r) for s, r in rows.items()}, **images})
    found = read(tmp_path, "medxpertqa", {"dev": 1, "test": 1})[1]
    assert (found["question"], len(found["options"]), found["answer_text"]) == ("What dose is right?", 10, "57 Gy")
    assert found["subject"] == "Nervous"


# --------------------------------------------------------------------------------------------------------------- Medbullets
BULLET = {
    "idx": "001",
    "question": "Which drug?",
    "options": DRUGS,
    "answer": "C",
    "explanation": "So.",
    "link": "https://bit.ly/x",
}
FOUR = {**BULLET, "options": {**DRUGS, "E": ""}}  # the hub fills the fifth
ROW = {"link": "https://bit.ly/x", "question": "Which drug?", **{f"op{k.lower()}": v for k, v in DRUGS.items()},
       "answer_idx": "C", "answer": "Ceftriaxone", "explanation": "So."}  # fmt: skip


@pytest.mark.parametrize("options", [4, 5])
@pytest.mark.parametrize("edition", ["hub", "older", "parquet", "authors"])
def test_medbullets_has_four_or_five_options(tmp_path: Path, options: int, edition: str) -> None:
    """Forms: medbullets_op4.csv and _op5.csv (github.com/HanjieChen/ChallengeClinicalQA), the card of mkieffer/Medbullets."""
    both = {4: FOUR, 5: BULLET}
    if edition == "parquet":
        parquet(tmp_path / "raw", {f"data/op{n}_test-00000-of-00001.parquet": [row] for n, row in both.items()})
    elif edition == "authors":
        rows = {n: {k: v for k, v in ROW.items() if k != "ope" or n == 5} for n in both}
        files = {f"medbullets/medbullets_op{n}.csv": table(row) for n, row in rows.items()}
        columns = {"link": {"0": "x"}, "question": {"0": "Which drug?"}}
        write(tmp_path / "raw", {**files, "medbullets/medbullets_op4.json": json.dumps(columns)})
    else:
        splits = ("test",) if edition == "hub" else ("train", "eval")
        write(tmp_path / "raw", {f"op{n}_{s}.jsonl": lines(row) for n, row in both.items() for s in splits})
    found = read(tmp_path, f"medbullets_{options}", {"test": 2 if edition == "older" else 1})[0]
    assert (len(found["options"]), found["answer_text"], found["explanation"]) == (options, "Ceftriaxone", "So.")


# ------------------------------------------------------------------------------------------------------------------ HEAD-QA
def head(qid: int, right: int, *answers: str, image: str | None = "") -> dict[str, Any]:
    return {"qid": str(qid), "qtext": f"Q{qid}?", "ra": str(right), "image": image,
            "answers": [{"aid": n, "atext": f"{a} "} for n, a in enumerate(answers, 1)]}  # fmt: skip


EXAM = {"name": "Cuaderno_2013_1_B", "year": "2013", "category": "biology"}
NUMBERS = head(1, 3, "3", "1", "2")  # the number of the answer, and the text of another


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("edition", ["hub", "parquet", "authors"])
def test_headqa_is_read_without_the_questions_that_have_an_image(tmp_path: Path, language: str, edition: str) -> None:
    """Forms: the loader datasets/head_qa/head_qa.py (github.com/huggingface/datasets), which shows both, and the archive's files."""
    if edition == "authors":
        data = [NUMBERS, head(2, 1, "x", "y", image="./images/2013/M/1.png")]
        files = {"train": {"a": {**EXAM, "data": data}, "b": {**EXAM, "name": "Cuaderno_2014_1_B", "data": [NUMBERS]}},
                 "dev": {"c": {**EXAM, "name": "c", "data": [NUMBERS]}}, "test": {"d": {**EXAM, "name": "d", "data": [NUMBERS]}}}  # fmt: skip
        folder = "HEAD_EN" if language == "en" else "HEAD"
        write(tmp_path / "raw", {f"{s}_{folder}.json": json.dumps({"version": "1.0", "language": language, "exams": exams}, indent=1)
                                 for s, exams in files.items()})  # fmt: skip
    else:
        row = {**EXAM, **NUMBERS, "qid": 1, "ra": 3, "image": None}
        image = {"bytes": "iVBORw0KGgo=" if edition == "hub" else b"\x89PNG", "path": "1.png"}
        rows = {"train": [row, {**row, "qid": 2, "image": image}, {**row, "name": "Cuaderno_2014_1_B"}],
                "validation": [{**row, "name": "c"}], "test": [{**row, "name": "d"}]}  # fmt: skip
        if edition == "hub":
            write(tmp_path / "raw", {f"{s}.jsonl": lines(*r) for s, r in rows.items()})
        else:
            typed = {
                s: [{**q, "image": q["image"] or {"bytes": None, "path": None}} if s == "train" else q for q in r]
                for s, r in rows.items()
            }
            parquet(tmp_path / "raw", {f"{language}/{s}-00000-of-00001.parquet": r for s, r in typed.items()})
    found = read(tmp_path, f"headqa_{language}", {"train": 2, "dev": 1, "test": 1})
    assert [q["id"] for q in found] == ["Cuaderno_2013_1_B-1", "Cuaderno_2014_1_B-1", "c-1", "d-1"]
    assert found[0]["options"] == ["3", "1", "2"]
    assert (found[0]["answer_text"], found[0]["subject"]) == ("2", "biology")


@pytest.mark.real
def test_headqas_training_questions_without_image_are_as_many_as_its_card_says(tmp_path: Path, data: Path) -> None:
    """The real questions, put back into the form of train_HEAD_EN.json."""
    exams: dict[str, dict[str, Any]] = {}
    for line in read_gzip(data / "data/qa/headqa_en_train.jsonl.gz"):
        q = json.loads(line)
        name, _, number = q["id"].removeprefix("headqa-").rpartition("-")
        exam = exams.setdefault(name, {"name": name, "year": q["year"], "category": q["category"], "data": []})
        image = "./images/x.png" if q["has_image"] else ""
        right = list(q["options"]).index(q["answer"]) + 1
        exam["data"].append({**head(int(number), right, *q["options"].values(), image=image), "qtext": q["question"]})
    write(tmp_path / "raw", {"train_HEAD_EN.json": json.dumps({"exams": exams}, indent=1)})
    run(tmp_path, {"headqa_en": {"path": str(tmp_path / "raw")}}, {"dataset": "headqa_en", "splits": ["train"]})
    assert len(asked(tmp_path)) == 2589 == read_card(FOLDER / "datasets/headqa_en.yaml")["entry"]["counts"]["train"]


# --------------------------------------------------------------------------------------------------------------- AfriMed-QA
def african(id: str, options: list[str], answer: str, **more: str) -> dict[str, str]:
    texts = {f"option{n}": o for n, o in enumerate(options, 1)}
    return {"sample_id": id, "split": "test", "country": "NG", "question_type": "mcq", "prompt": "", "question": "Which one is ?\n \n",
            "question_clean": "Which one is?", "answer_options": json.dumps(texts), "correct_answer": answer,
            "answer_rationale": "", "specialty": "Urology", "tier": "expert", **more}  # fmt: skip


AFRICAN = [
    african("a", ["x", "y", "z", "u", "w"], "option5"),
    african("b", ["x", "y", "z", "u", "w"], "option3,option4", split="train"),
    african("c", ["True", "False", "N/A", "N/A", "n/a"], "option2"),
    african("d", [], "", question_type="saq"),
    *(african(f"e{n}", ["x", "y"], "option1") for n in range(40)),
    african("f", ["x", "y"], "option3"),
]


@pytest.mark.parametrize("name", ["train.jsonl", "data/afri_med_qa_15k_v2.5_phase_2_15275.csv"])
def test_afrimedqas_choices_are_read_with_one_answer_or_several(tmp_path: Path, name: str) -> None:
    """Form: data/sample_10.csv and README (github.com/intron-innovation/AfriMed-QA); its src/utils/prepare_data.py takes the first."""
    write(tmp_path / "raw", {name: lines(*AFRICAN) if name.endswith("jsonl") else table(*AFRICAN)})
    found = {q["id"]: q for q in read(tmp_path, "afrimedqa", {"test": 42, "train": 1})}
    assert {k: found[k]["answer_text"] for k in "abc"} == {"a": "w", "b": "z", "c": "False"}
    assert found["c"]["options"] == ["True", "False"]
    assert [r["id"] for r in pq.read_table(tmp_path / "prepare/dropped.parquet").to_pylist()] == ["f"]


# ----------------------------------------------------------------------------------------------------------------- MMLU-Pro
PRO = {"question_id": 6093, "question": "Which?", "options": ["A", "N/A", "B", "C"], "answer": "C", "answer_index": 2,
       "cot_content": "", "category": "health", "src": "ori_mmlu-virology"}  # fmt: skip


@pytest.mark.parametrize("edition", ["hub", "parquet"])
def test_mmlu_pros_health_questions_lose_the_options_that_are_not_there(tmp_path: Path, edition: str) -> None:
    """Form: the hub's card (TIGER-Lab/MMLU-Pro); evaluate_from_local.py of its repository leaves 'N/A' out, too."""
    rows = {"validation": [{**PRO, "question_id": 1}], "test": [PRO, {**PRO, "question_id": 7, "category": "law"}]}
    if edition == "hub":
        write(tmp_path / "raw", {f"{s}.jsonl": lines(*r) for s, r in rows.items()})
    else:
        parquet(tmp_path / "raw", {f"data/{s}-00000-of-00001.parquet": r for s, r in rows.items()})
    found = read(tmp_path, "mmlu_pro_health", {"few_shot": 1, "test": 1})[1]
    assert (found["id"], found["options"], found["answer_text"]) == ("6093", ["A", "B", "C"], "B")
    assert found["subject"] == "ori_mmlu-virology"
