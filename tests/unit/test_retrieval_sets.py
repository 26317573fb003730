"""Retrieval sets and reading comprehension: questions with gold passages, read with the corpus that comes with them."""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from published import asked, lines, run, write

from jmlr.config import Config
from jmlr.options import AnswerOptions, EncodeOptions, EvaluateOptions, IndexOptions, SearchOptions
from jmlr.runtime.manifest import read_manifest
from jmlr.stages.answer import answer
from jmlr.stages.encode import encode
from jmlr.stages.evaluate import evaluate
from jmlr.stages.fetch import fetch
from jmlr.stages.index import index
from jmlr.stages.prepare import prepare
from jmlr.stages.search import search
from jmlr.stages.train import train
from toys import toy_reading, toy_retrieval, toy_training

HEAD = "query-id\tcorpus-id\tscore\n"
BEIR = {  # nfcorpus, scifact and trec-covid: their own fields stand in `metadata`
    "corpus.jsonl": lines(
        {"_id": "MED-10", "title": "Statins", "text": "Statin use and survival.", "metadata": {"url": "x"}},
        {"_id": "MED-14", "title": "A title alone", "text": "", "metadata": {}},
        {"_id": "MED-15", "title": "", "text": "", "metadata": {}},
    ),
    "queries.jsonl": lines(
        {"_id": "PLAIN-2", "text": "Do cholesterol statin drugs cause cancer?", "metadata": {}},
        {"_id": "PLAIN-3", "text": "Not judged", "metadata": {}},
        {"_id": "PLAIN-12", "text": "Exploiting autophagy", "metadata": {}},
    ),
    "qrels/dev.tsv": f"{HEAD}PLAIN-12\tMED-14\t1\n",
    "qrels/test.tsv": f"{HEAD}PLAIN-2\tMED-10\t2\nPLAIN-2\tMED-14\t1\nPLAIN-2\tMED-15\t0\n",
}


def passages(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "prepare/passages.parquet").to_pylist()


@pytest.mark.parametrize("name", ["nfcorpus", "scifact", "trec_covid"])
@pytest.mark.parametrize("packed", [True, False])
def test_beirs_archives_are_read_packed_and_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, packed: bool
) -> None:
    """Form: NAME/corpus.jsonl, queries.jsonl and qrels/ in NAME.zip (beir/datasets/data_loader.py, github.com/beir-cellar/beir)."""
    write(tmp_path / "raw/set", BEIR)
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file, text in BEIR.items():
                archive.writestr(f"set/{file}", text)
    source = {name: {"path": str(tmp_path / ("set.zip" if packed else "raw"))}}
    entry = {"dataset": name, "counts": {"dev": 1, "test": 1}}
    run(tmp_path, source, entry, corpora=[{"corpus": name, "count": 3}])
    first, second = asked(tmp_path)
    assert (first["id"], first["split"], first["gold_ids"], first["gold_grades"]) == (
        "PLAIN-2",
        "test",
        ["MED-10", "MED-14"],
        [2, 1],
    )
    assert (second["id"], second["split"], second["gold_ids"]) == ("PLAIN-12", "dev", ["MED-14"])
    assert (first["answer"], first["answer_text"], first["options"]) == (-1, "", [])
    assert [(p["id"], p["title"], p["text"]) for p in passages(tmp_path)] == [
        ("MED-10", "Statins", "Statin use and survival."), ("MED-14", "", "A title alone"),
    ]  # fmt: skip
    assert f"{name}: 1 query passed over, which no passage answers" in capsys.readouterr().err


CONTEXT = "Laninamivir is dosed once. It is inhaled by patients with influenza."
COVID = {"data": [
    {"paragraphs": [{"context": CONTEXT, "document_id": 630, "qas": [
        {"id": 262, "question": "How is it taken?", "is_impossible": False, "answers": [{"text": "inhaled", "answer_start": 33}]},
        {"id": 263, "question": "How often?", "is_impossible": False, "answers": [{"text": "once", "answer_start": 21}]}]}]},
    {"title": "Gout_(disease)", "paragraphs": [{"context": "Gout hurts.", "qas": [
        {"id": "g1", "question": "What hurts?", "answers": [{"text": "Gout", "answer_start": 0}, {"text": "gout", "answer_start": 0}]}]}]},
]}  # fmt: skip


def test_squads_form_gives_open_questions_with_their_paragraph_as_gold(tmp_path: Path) -> None:
    """Form: COVID-QA.json as datasets/covid_qa_deepset/covid_qa_deepset.py reads it (github.com/huggingface/datasets), and SQuAD 1.1."""
    write(tmp_path / "raw", {"COVID-QA.json": json.dumps(COVID)})
    source = {"covid_qa": {"path": str(tmp_path / "raw")}}
    run(
        tmp_path,
        source,
        {"dataset": "covid_qa", "counts": {"test": 3}},
        corpora=[{"corpus": "covid_qa"}],
        chunk_words=4,
    )
    name = f"630-{hashlib.sha256(CONTEXT.encode()).hexdigest()[:12]}"
    found = {q["id"]: q for q in asked(tmp_path)}
    assert {k: q["answer_text"] for k, q in found.items()} == {"262": "inhaled", "263": "once", "g1": "Gout"}
    assert found["262"]["gold_ids"] == [p["id"] for p in passages(tmp_path) if p["id"].startswith(name)]
    assert len(found["262"]["gold_ids"]) > 1, "all pieces of the article"
    [gout] = [p for p in passages(tmp_path) if p["id"] in found["g1"]["gold_ids"]]
    assert (gout["title"], gout["text"]) == ("Gout (disease)", "Gout hurts.")
    assert read_manifest(tmp_path / "prepare")["notes"]["gold_not_in_corpus"] == 0


def test_a_retrieval_set_beside_answered_questions_is_searched_and_measured_but_never_answered(
    tiny: Path, tmp_path: Path
) -> None:
    """From `prepare` to `evaluate` with the tiny world's questions and queries on its passages, of both splits."""
    world = [json.loads(line) for line in (tiny / "world/passages.jsonl").read_text().splitlines()][:6]
    queries = lines(*({"_id": f"r{n}", "text": f"Which text is about {p['title']}?"} for n, p in enumerate(world)))
    judged = [f"r{n}\t{p['id']}\t{1 + n % 2}\n" for n, p in enumerate(world)]
    files = {"train.tsv": HEAD + "".join(judged[:3]), "test.tsv": HEAD + "".join(judged[3:])}
    write(
        tmp_path / "set", {"queries.jsonl": queries, "corpus.jsonl": "x", **{f"qrels/{k}": v for k, v in files.items()}}
    )
    own = Config.load({}).model_dump(mode="json")["prepare"]
    data = {"sources": {"world": {"origin": "demo"}, "beir": {"path": str(tmp_path / "set")}}}
    data["prepare"] = {**own, "questions": [*own["questions"], {"dataset": "beir"}]}
    config = Config.load(data)
    fetch(tmp_path / "beir", "beir", config.sources["beir"])
    prepared = tmp_path / "prepare"
    prepare(prepared, [tiny / "world", tmp_path / "beir"], config.prepare)
    retriever, retrieval = str(tiny / "retriever"), toy_retrieval()
    for part in ("passages", "questions"):
        encode(tmp_path / part, prepared, retriever, part, EncodeOptions(), retrieval)
    index(tmp_path / "index", IndexOptions(), [tmp_path / "passages"])
    search(tmp_path / "search", prepared, SearchOptions(candidates=5), tmp_path / "index", tmp_path / "questions")
    options = toy_training(steps=1, batch=2, passages=2, samples=3)
    train(tmp_path / "train", prepared, str(tiny / "llm"), 0, tmp_path / "scratch", options, toy_reading(), retrieval,
          retriever=retriever, search=tmp_path / "search")  # fmt: skip
    assert read_manifest(tmp_path / "train")["notes"]["questions"] == len(
        [q for q in pq.read_table(prepared / "questions.parquet").to_pylist() if q["split"] == "train" and q["options"]]
    )
    answer(tmp_path / "answer", prepared, AnswerOptions(), toy_reading(), str(tiny / "llm"),
           searches=[tmp_path / "search"], passages=2)  # fmt: skip
    answered = pq.read_table(tmp_path / "answer/answers.parquet")["dataset"].to_pylist()
    assert set(answered) == {"world"}
    evaluate(tmp_path / "evaluate", prepared, tmp_path / "answer", "r", "jmlr", 0, EvaluateOptions(retrieval_k=[1, 5]),
             [tmp_path / "search"])  # fmt: skip
    with (tmp_path / "evaluate/metrics.csv").open() as f:
        found = {(r["dataset"], r["metric"], r["k"]): int(r["n"]) for r in csv.DictReader(f)}
    assert {k[1] for k in found if k[0] == "beir"} == {"hit", "recall", "ndcg", "mrr"}
    assert found["beir", "ndcg", "5"] == 3
    assert found["world", "accuracy", ""] == len(answered)
