"""Question sets are read from the files of their authors as they are published, and hold what was published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from published import MEDMCQA, MEDQA, OPTIONS, ORIGINAL_PUBMED, asked, lines, run, write

from jmlr.config import ConfigError
from jmlr.options.cards import FOLDER, read_card
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest

COUNTS = {"train": 3, "dev": 2, "test": 1}
MIRAGE = {
    "medqa": {"0000": {"question": "Q1?", "options": OPTIONS, "answer": "B"}},
    "bioasq": {"5be4": {"question": "Q2?", "options": {"A": "yes", "B": "no"}, "answer": "A", "PMID": [1]}},
}
BIOASQ = {"questions": [
    {"id": "1", "body": "Q1?", "type": "yesno", "exact_answer": ["Yes."], "ideal_answer": ["A.", "B."],
     "documents": ["http://www.ncbi.nlm.nih.gov/pubmed/23431439"]},
    {"id": "2", "body": "Q2?", "type": "yesno", "exact_answer": "no"},
    {"id": "3", "body": "Q3?", "type": "factoid", "exact_answer": [["TP53"]]},
]}  # fmt: skip
ORIGINAL: list[tuple[str, dict[str, str], dict[str, int], dict[str, Any]]] = [
    ("medqa_usmle", {"phrases_no_exclude_dev.jsonl": lines(MEDQA)}, {"dev": 1}, {"id": "medqa_usmle-dev-00000", "answer": 2}),
    ("medqa_usmle_5", {"dev.jsonl.gz": lines({**MEDQA, "options": {**OPTIONS, "E": "Fifth"}, "answer": "Fifth", "answer_idx": "E"})},
     {"dev": 1}, {"answer": 4, "answer_text": "Fifth"}),
    ("medmcqa", {"dev.json": lines({**MEDMCQA, "cop": 3}, {**MEDMCQA, "id": "b", "cop": 2}, {**MEDMCQA, "id": "c", "cop": 5})},
     {"test": 2}, {"id": "45258d3d", "answer": 0, "answer_text": "same"}),
    ("mmlu_medical", {"test/anatomy_test.csv": 'Where?,a,"b, c",d,e,B\n', "test/virology_test.csv": "W?,a,b,c,d,A\n"},
     {"test": 1}, {"answer": 1, "answer_text": "b, c", "subject": "anatomy"}),
    ("pubmedqa", {"ori_pqal.json": json.dumps({"7": ORIGINAL_PUBMED, "8": ORIGINAL_PUBMED}, indent=1), "test_ground_truth.json": '{"8": "maybe"}'},
     {"train": 1, "test": 1}, {"id": "7", "split": "train", "answer": 2, "explanation": "They do."}),
    ("bioasq_yesno", {"training13b.json": json.dumps(BIOASQ), "13B1_golden.json": json.dumps({"questions": [{**BIOASQ["questions"][1], "id": "4"}]})},
     {"train": 2, "test": 1}, {"id": "4", "split": "test", "answer": 1, "gold_ids": []}),
    ("mirage", {"benchmark.json": json.dumps(MIRAGE)}, {"test": 2}, {"id": "medqa-0000", "dataset": "mirage_medqa", "answer": 1}),
    ("beir", {"corpus.jsonl": lines({"_id": "d1", "title": "", "text": "x"}), "queries.jsonl": lines({"_id": "q1", "text": "Gout?", "metadata": {}}),
              "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\tp\t2\n"},
     {"test": 1}, {"id": "q1", "split": "test", "question": "Gout?", "answer": -1, "gold_ids": ["p"], "gold_grades": [2]}),
    ("amboss", {"amboss.jsonl": lines({"id": "a1", "question": "Q?", "options": OPTIONS, "answer": "D", "explanation": "<b>So</b>"})},
     {"test": 1}, {"id": "a1", "answer": 3, "explanation": "So"}),
    ("medqa_reason", {"r.jsonl": lines({"question": "Q?", "options": OPTIONS, "answer": "D", "rationale": "Because."})},
     {"train": 1}, {"split": "train", "explanation": "Because."}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "counts", "first"), ORIGINAL, ids=[o[0] for o in ORIGINAL])
def test_a_set_is_read_from_the_files_of_its_authors(
    tmp_path: Path, name: str, files: dict[str, str], counts: dict[str, int], first: dict[str, Any]
) -> None:
    write(tmp_path / "raw", files)
    splits = {"splits": list(counts)} if len(counts) == 1 else {}
    entry = {"dataset": name, "counts": counts, "most_unusable": 0.4, **splits}
    run(tmp_path, {name: {"path": str(tmp_path / "raw")}}, entry)
    found = asked(tmp_path)
    assert {k: found[0][k] for k in first} == first
    dropped = pq.read_table(tmp_path / "prepare/dropped.parquet").to_pylist()
    assert [r["id"] for r in dropped] == (["c"] if name == "medmcqa" else [])
    assert len(found) == sum(counts.values())


def test_medqas_five_options_are_read_from_the_folder_that_holds_its_other_forms_too(tmp_path: Path) -> None:
    """The authors' archive: data_clean/questions/US has the files themselves, US_qbank, 4_options and what MetaMap found."""
    five = {**MEDQA, "options": {**OPTIONS, "E": "Fifth"}}
    files = {f"{s}.jsonl": lines(*[{**five, "question": f"{s} {i}?"} for i in range(n)]) for s, n in COUNTS.items()}
    files |= {f"4_options/phrases_no_exclude_{s}.jsonl": lines({**MEDQA, "question": f"four {s}?"}) for s in COUNTS}
    files |= {
        f"metamap_extracted_phrases/{s}/phrases_{s}.jsonl": lines({**five, "question": f"meta {s}?"}) for s in COUNTS
    }
    write(tmp_path / "US", {**files, "US_qbank.jsonl": lines(five)})
    source = {"path": str(tmp_path / "US")}
    run(tmp_path, {"medqa_usmle_5": source}, {"dataset": "medqa_usmle_5", "counts": COUNTS})
    assert [q["question"] for q in asked(tmp_path)] == [f"{s} {i}?" for s, n in COUNTS.items() for i in range(n)]
    four = {"dataset": "medqa_usmle", "counts": dict.fromkeys(COUNTS, 1)}
    with pytest.raises(ConfigError, match=r"medqa_usmle.yaml': edition: hub and authors all fit"):
        run(tmp_path, {"medqa_usmle": source}, four)
    run(tmp_path, {"medqa_usmle": {"path": str(tmp_path / "US/4_options")}}, four)
    assert [q["question"] for q in asked(tmp_path)] == [f"four {s}?" for s in COUNTS]
    five_alone = write(
        tmp_path / "five", {f"{s}.jsonl": lines({**five, "answer": "Fifth", "answer_idx": "E"}) for s in COUNTS}
    )
    with pytest.raises(UserError, match="answer 'E' is none of the options; allowed: A, B, C, D"):
        run(tmp_path, {"medqa_usmle": {"path": str(five_alone)}}, {**four, "edition": "hub"})
    with pytest.raises(UserError, match=r"no file matches 'train.jsonl\*'"):
        run(tmp_path, {"medqa_usmle_5": {"path": str(tmp_path / "US/4_options")}}, {"dataset": "medqa_usmle_5"})


def test_what_is_in_a_golden_file_of_bioasq_is_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training files repeat the golden sets of earlier years, under the same ids (BioASQ's guidelines of task B)."""
    golden = {"questions": [BIOASQ["questions"][1]]}
    write(
        tmp_path / "raw",
        {"training13b.json": json.dumps(BIOASQ), "Task12BGoldenEnriched/12B1_golden.json": json.dumps(golden)},
    )
    source = {"bioasq_yesno": {"path": str(tmp_path / "raw")}}
    run(tmp_path, source, {"dataset": "bioasq_yesno"})
    assert {q["id"]: q["split"] for q in asked(tmp_path)} == {"1": "train", "2": "test"}
    assert "bioasq_yesno: 1 record passed over, whose id is in a file before" in capsys.readouterr().err
    corpora = [{"source": "one", "fields": {"section": "pmid"}}]
    write(tmp_path / "one", {"q.jsonl": lines({"id": "s1", "text": "Text.", "pmid": 23431439})})
    run(tmp_path, source, {"dataset": "bioasq_yesno"}, corpora=[{**corpora[0], "file": "q.jsonl"}])
    assert {q["id"]: q["gold_ids"] for q in asked(tmp_path)} == {"1": ["s1"], "2": []}


def test_pmids_of_mirage_are_gold_where_the_corpus_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """benchmark.json: ids of PubMedQA are PMIDs; `PMID` is a list where a question has one."""
    options = {"A": "yes", "B": "no", "C": "maybe"}
    sets = {"bioasq": MIRAGE["bioasq"], "pubmedqa": {"7547656": {"question": "Q3?", "options": options, "answer": "B"}}}
    write(tmp_path / "raw", {"benchmark.json": json.dumps(sets)})
    entry = {"dataset": "mirage", "counts": {}}
    run(tmp_path, {"mirage": {"path": str(tmp_path / "raw")}}, entry)
    assert [q["gold_ids"] for q in asked(tmp_path)] == [[], []]
    assert "'mirage_pubmedqa': none of its 1 gold ids is the id (or section) of a passage" in capsys.readouterr().err
    write(
        tmp_path / "pubmed", {"p.jsonl": lines({"id": "7547656", "text": "A."}, {"id": "s", "pmid": 1, "text": "B."})}
    )
    corpora = [{"source": "pubmed", "fields": {"section": "pmid"}}]
    run(
        tmp_path,
        {"mirage": {"path": str(tmp_path / "raw")}, "pubmed": {"path": str(tmp_path / "pubmed")}},
        entry,
        corpora=corpora,
    )
    assert {q["id"]: q["gold_ids"] for q in asked(tmp_path)} == {"pubmedqa-7547656": ["7547656"], "bioasq-5be4": ["s"]}


def test_another_number_of_questions_is_an_error_or_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "raw", {"dev.json": lines({**MEDMCQA, "cop": 2})})
    entry = {"dataset": "medmcqa", "splits": ["test"]}
    with pytest.raises(
        UserError, match=r"^medmcqa: 1 question in split 'test', 4,182 are expected.*'count_check: warn'"
    ):
        run(tmp_path, {"medmcqa": {"path": str(tmp_path / "raw")}}, entry)
    assert not (tmp_path / "prepare").exists()
    run(tmp_path, {"medmcqa": {"path": str(tmp_path / "raw")}}, {**entry, "count_check": "warn"})
    assert "4,182 are expected" in capsys.readouterr().err


def test_each_set_of_mirage_has_a_number_of_its_own(tmp_path: Path) -> None:
    counts = read_card(FOLDER / "datasets/mirage.yaml")["entry"]["counts"]
    assert sum(n for name, n in counts.items() if "/" in name) == counts["test"] == 7662
    write(tmp_path / "raw", {"benchmark.json": json.dumps(MIRAGE)})
    source = {"mirage": {"path": str(tmp_path / "raw")}}
    right = {"mirage_medqa/test": 1, "mirage_bioasq/test": 1, "test": 2}
    run(tmp_path, source, {"dataset": "mirage", "counts": right})
    assert len(asked(tmp_path)) == 2
    for splits in ([], ["test"]):
        entry = {"dataset": "mirage", "splits": splits, "counts": {**right, "mirage_bioasq/test": 2}}
        with pytest.raises(UserError, match=r"^mirage: 1 question in split 'mirage_bioasq/test', 2 are expected"):
            run(tmp_path, source, entry)
    run(tmp_path, source, {"dataset": "mirage", "counts": {"mirage_medqa/dev": 9, **right}, "splits": ["test"]})


# ------------------------------------------------------------------------------------------------------------- real files
@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "pattern", "more", "expected"),
    [
        (
            "medqa_usmle",
            "medqa_us_4options_dev*",
            {"files": {"dev": "*"}, "splits": ["dev"], "edition": "authors"},
            {"dev": 1272},
        ),
        ("medqa_usmle_5", "medqa_us_5options_dev*", {"files": {"dev": "*"}, "splits": ["dev"]}, {"dev": 1272}),
        ("medmcqa", "medmcqa_dev*", {"splits": ["test"]}, {"test": 4182}),
        ("pubmedqa", "pubmedqa_*", {}, {"train": 500, "test": 500}),
    ],
)
def test_published_files_have_the_published_counts(
    tmp_path: Path, data: Path, name: str, pattern: str, more: dict[str, Any], expected: dict[str, int]
) -> None:
    source = {"path": str(data / "data/original"), "files": [pattern]}
    run(tmp_path, {name: source}, {"dataset": name, **more})
    notes = read_manifest(tmp_path / "prepare")["notes"]
    assert notes["questions"] == {name: expected}
    assert notes["dropped"] == (name == "medmcqa")  # one has four equal options
    found = asked(tmp_path)
    assert {len(q["options"]) for q in found} == {5 if name.endswith("_5") else 3 if name == "pubmedqa" else 4}
    twice = {"groups": 13, "questions": 26, "contradicting": 1}
    assert notes["repeated"] == ({"medmcqa": twice} if name == "medmcqa" else {})
    if name == "medmcqa":
        assert 2000 < sum(bool(q["explanation"]) for q in found) < 2300
        assert not any("\u200b" in q["question"] + q["explanation"] for q in found)
