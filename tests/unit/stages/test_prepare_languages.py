"""MedQA's Chinese form (Mainland, Taiwan) goes through `prepare`: read, cut where sentences end, copies found, innocent text kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jmlr.options import PrepareOptions
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.prepare import prepare

DRUGS = ("甲药", "乙药", "丙药", "丁药", "戊药")
ORGANS = ("胃", "肝脏", "肺部", "肾脏", "心脏", "胰腺", "脾脏", "小肠")
LETTERS = "ABCDE"


def vignette(number: int) -> str:
    organ = ORGANS[number % len(ORGANS)]
    return f"患者，女，{30 + number}岁，{organ}区不适{number + 2}个月，近日加重，检查发现{organ}增大{number + 1}厘米，最适宜的处理是"


def asked(number: int) -> dict[str, Any]:
    answer = number % 5
    options = dict(zip(LETTERS, DRUGS, strict=True))
    return {"question": vignette(number), "options": options, "answer": DRUGS[answer], "answer_idx": LETTERS[answer], "meta_info": "内科学"}  # fmt: skip


def book(number: int) -> str:
    organ = ORGANS[number % len(ORGANS)]
    return (
        f"{organ}疾病第{number}节。多数患者感到{organ}区不适。查体可见{organ}增大！如何处理？应先明确病因，再决定用药。"
    )


def test_chinese_questions_and_passages_are_read_cut_and_decontaminated(tmp_path: Path) -> None:
    folder = tmp_path / "fetch" / "china"
    folder.mkdir(parents=True)
    questions = {"test": [asked(i) for i in range(40)], "train": [asked(i) for i in range(35, 60)]}  # five are copies
    for split, rows in questions.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    texts = [book(i) + book(i + 1) for i in range(50)]
    copied = {f"c{i}": f"{book(i)}{vignette(i)}{book(i + 3)}" for i in range(40)}
    passages = [*({"id": f"b{i}", "text": t} for i, t in enumerate(texts)), *({"id": k, "text": t} for k, t in copied.items())]  # fmt: skip
    (folder / "book.jsonl").write_text("".join(json.dumps(p, ensure_ascii=False) + "\n" for p in passages))
    options = {
        "corpora": [{"source": "china", "file": "book.jsonl"}],
        "questions": [
            {"source": "china", "dataset": "mainland", "files": {s: f"{s}.jsonl" for s in questions},
             "fields": {"answer": "answer_idx", "subject": "meta_info"}, "make_ids": True}
        ],
        "documents": [], "chunk_words": 60, "decontaminate": {"splits": ["test"]},
    }  # fmt: skip
    prepare(tmp_path / "prepare", [folder], PrepareOptions.model_validate(options))
    tables = {n: pq.read_table(tmp_path / f"prepare/{n}.parquet").to_pylist() for n in ("passages", "questions", "dropped")}  # fmt: skip
    assert [q["answer"] for q in tables["questions"] if q["split"] == "test"] == [i % 5 for i in range(40)]
    dropped = tables["dropped"]
    assert sum(d["kind"] == "question" for d in dropped) == 5
    found = {d["id"].split("/")[0] for d in dropped if d["kind"] == "passage"}
    assert found == set(copied), "each verbatim copy is found, and no page of the book"
    pieces = [p for p in tables["passages"] if p["id"].startswith("b")]
    assert len(pieces) > len(texts), "they are cut"
    assert all(p["text"].endswith(("。", "！", "？")) for p in pieces), "where sentences end"
    assert not any(" " in p["text"] for p in pieces), "and no blank comes in"
    assert read_manifest(tmp_path / "prepare")["notes"]["test_questions"]["too_short_for_passages"] == 0
