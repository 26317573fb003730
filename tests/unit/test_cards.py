"""Every card is valid and reads the forms that its data is published in (those of authors: test_published.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from published import MEDMCQA, MEDQA, MMLU, ORIGINAL_PUBMED, PUBMED, archive, asked, lines, parquet, run, write

from jmlr.config import Config, ConfigError
from jmlr.options.cards import FOLDER, names, read_card
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
CARDS = [(kind, name) for kind in ("datasets", "corpora") for name in names(kind)]


# ------------------------------------------------------------------------------------------------------- the cards alone
@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_a_card_is_valid_in_all_its_editions_and_says_what_it_is(kind: str, name: str) -> None:
    card = read_card(FOLDER / kind / f"{name}.yaml")
    assert card["about"]["licence"]
    key, part = ("dataset", "questions") if kind == "datasets" else ("corpus", "corpora")
    from_hub = card.get("sources", {}).get(name, {}).get("origin") == "hub"
    assert from_hub <= ("hub" in card.get("editions", {"hub": {}})), "the form in which the hub's library writes it"
    local = {name: {"path": "x", "origin": "local"}}
    chosen = [(local, {"edition": e}) for e in card.get("editions", {})] or [(local, {})]
    for source, edition in [*chosen, *([({}, {})] if from_hub else [])]:
        entries = {"questions": [{"source": "s"}], "corpora": [{"source": "s"}], "documents": [{"plain": True}]}
        sources = {"s": {"path": "x"}, **source}
        examples = {"report": {"examples": 0}}
        config = Config.load(
            {"sources": sources, "prepare": {**entries, part: [{key: name, **edition}, {"source": "s"}]}, **examples}
        )
        entry = getattr(config.prepare, part)[0]
        assert entry.source == card.get("entry", {}).get("source", name)
        assert entry.source in config.sources


@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_the_docs_name_every_card_with_its_licence_and_sizes(kind: str, name: str) -> None:
    card = read_card(FOLDER / kind / f"{name}.yaml")
    docs = (ROOT / "docs/data.md").read_text()
    tables = docs.split("\n## Which forms are read\n")[0].split("\n## Corpora\n")
    rows = [line for line in tables[kind == "corpora"].splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert card["about"]["licence"] in rows[0]
    read = [card.get("entry", {}), *card.get("editions", {}).values()]
    for count in [n for part in read for n in [*part.get("counts", {}).values(), part.get("count", 0)]]:
        assert not count or f"{count:,}" in rows[0]


@pytest.mark.parametrize(("kind", "name"), CARDS)
def test_the_docs_say_which_files_tell_each_edition(kind: str, name: str) -> None:
    card = read_card(FOLDER / kind / f"{name}.yaml")
    table = (ROOT / "docs/data.md").read_text().split("\n## Which forms are read\n")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
    for edition, keys in card.get("editions", {}).items():
        for pattern in keys["files"].values() if "files" in keys else [keys["file"]]:
            assert any(f"{edition}: " in row and pattern in row for row in rows), f"{edition}: {pattern}"
    assert rows


def test_what_stands_beside_a_card_wins_and_fields_are_laid_over_it() -> None:
    entry = {"dataset": "medmcqa", "counts": {"test": 7}, "fields": {"subject": "topic_name"}}
    found = Config.load({"prepare": {"questions": [entry], "corpora": [{"corpus": "medrag_textbooks"}]}})
    question = found.prepare.questions[0]
    assert question.counts == {"test": 7}
    assert question.fields["subject"] == "topic_name"
    assert question.fields["answer"] == "cop"
    assert found.sources["medmcqa"].path == "openlifescienceai/medmcqa"
    again = Config.load(found.model_dump(mode="json"))
    assert again == found, "a filled entry is no card any more"


def test_a_card_of_ones_own_is_a_path(tmp_path: Path) -> None:
    card = {"about": {"title": "Mine"}, "sources": {"mine": {"path": "x.csv"}}, "entry": {"split": "test"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(card))
    entry = {"dataset": str(tmp_path / "mine.yaml")}
    found = Config.load({"prepare": {"questions": [entry], "corpora": [{"source": "mine"}], "documents": []}})
    assert (found.prepare.questions[0].source, found.prepare.questions[0].dataset) == ("mine", "mine")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"questions": [{"dataset": "medqa_usml"}]}, "no card 'medqa_usml' .did you mean 'medqa_usmle'"),
        ({"questions": [{"dataset": "amboss"}]}, "card 'amboss': its data is not public: give 'sources.amboss'"),
        ({"corpora": [{"corpus": "wikipedia.yaml"}]}, "'wikipedia.yaml' cannot be read"),
        ({"questions": [{"split": "test"}]}, "an entry without a source; allowed: a 'source', or a card"),
        ({"corpora": [{"corpus": "clinical_notes"}]}, "report.examples: allowed: 0, since source 'clinical_notes' is"),
    ],
)
def test_a_card_that_cannot_be_used_is_one_line(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Config.load({"prepare": data, "sources": {"world": {"origin": "demo"}}})
    assert "\n" not in str(caught.value)


def test_private_data_is_local() -> None:
    with pytest.raises(ConfigError, match=r"sources.notes: private, and origin 'hub'; allowed: local"):
        Config.load(
            {"sources": {"world": {"origin": "demo"}, "notes": {"origin": "hub", "path": "x", "private": True}}}
        )


# ---------------------------------------------------------------------------------------------------------- from the hub
HUB: list[tuple[str, dict[str, list[dict[str, Any]]], dict[str, Any], dict[str, Any]]] = [
    ("medqa_usmle", {"train": [MEDQA], "test": [MEDQA, {**MEDQA, "question": "Other?"}]}, {"train": 1, "test": 2},
     {"id": "medqa_usmle-train-00000", "answer": 2, "answer_text": "Ceftriaxone", "subject": "step1"}),
    ("medmcqa", {"train": [{**MEDMCQA, "cop": 1}], "validation": [{**MEDMCQA, "id": "b", "cop": 2}], "test": [{**MEDMCQA, "cop": -1}]},
     {"train": 1, "test": 1}, {"id": "45258d3d", "answer": 1, "answer_text": "< 5 mm", "explanation": "", "subject": "Anatomy"}),
    ("mmlu_medical", {"dev": [MMLU], "validation": [MMLU], "test": [MMLU, {**MMLU, "subject": "philosophy"}]},
     {"few_shot": 1, "dev": 1, "test": 1}, {"id": "mmlu_medical-few_shot-00000", "answer": 3, "answer_text": "down", "subject": "anatomy"}),
    ("pubmedqa", {"train": [PUBMED, {**PUBMED, "pubid": 7}]}, {"train": 1, "test": 1},
     {"id": "21645374", "split": "train", "answer": 0, "explanation": "They do.", "options": ["yes", "no", "maybe"]}),
]  # fmt: skip


@pytest.mark.parametrize("form", ["library", "jsonl", "parquet"])
@pytest.mark.parametrize(("name", "splits", "counts", "first"), HUB, ids=[h[0] for h in HUB])
def test_a_set_is_read_as_the_hubs_library_loads_it_and_from_local_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, splits: Any, counts: Any, first: Any, form: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    if form == "parquet":
        parquet(tmp_path / "set", {f"data/{s}-00000-of-00001.parquet": rows for s, rows in splits.items()})
    else:
        where = "data/{}-00000-of-00001.jsonl" if form == "library" else "{}.jsonl"
        write(tmp_path / "set", {where.format(s): lines(*rows) for s, rows in splits.items()})
    write(tmp_path / "ids", {"test_ground_truth.json": '{"7": "yes"}'})
    source = {"origin": "hub" if form == "library" else "local", "path": str(tmp_path / "set")}
    run(tmp_path, {name: source, "pubmedqa_test": {"path": str(tmp_path / "ids")}}, {"dataset": name, "counts": counts})
    found = asked(tmp_path)
    assert {k: found[0][k] for k in first} == first
    assert read_manifest(tmp_path / "prepare")["notes"]["questions"] == {name: counts}


# --------------------------------------------------------------------------------------------------------------- corpora
SNIPPET = {"id": "snippet_0", "title": "Anatomy", "content": "Bones.", "contents": "Anatomy. Bones."}
MODULE = (
    '<document xmlns="http://cnx.rice.edu/cnxml"><title>Gout</title><content><para>Rest.</para></content></document>'
)
ARTICLE = "<book-part-wrapper><title-group><title>Gout</title></title-group><sec><title>Care</title><p>Rest.</p></sec></book-part-wrapper>"
CORPORA: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("medrag_textbooks", {"a.jsonl": lines({"id": "Anatomy_0", "title": "Anatomy", "content": "Bones.", "contents": "Anatomy. Bones."})},
     {"id": "Anatomy_0", "title": "Anatomy", "text": "Bones."}),
    ("guidelines", {"README.md": "# A clone of the hub's", "open_guidelines.jsonl":
      lines({"id": "g1", "title": "Care", "clean_text": "# Gout\nRest."}, {"id": "g2", "title": "", "clean_text": ""})},
     {"id": "g1", "title": "Care: Gout", "text": "Rest."}),
    ("documents", {"sub/my_notes.txt": "Gout is a dis-\nease.\n"}, {"id": "sub/my_notes.txt", "title": "my notes", "text": "Gout is a disease."}),
    ("medqa_rationales", {"r.jsonl": lines({"rationale": "Because."}, {"rationale": None})}, {"id": "medqa_rationales-0000000", "text": "Because."}),
    ("pubmedqa_abstracts", {"ori_pqal.json": json.dumps({"7": ORIGINAL_PUBMED}, indent=1)}, {"id": "7", "text": "One.\n\nTwo."}),
    ("beir", {"corpus.jsonl": lines({"_id": "d1", "title": "Gout", "text": "Rest.", "metadata": {}}), "queries.jsonl": "", "qrels/test.tsv": ""},
     {"id": "d1", "title": "Gout", "text": "Rest."}),
    *((name, {"set/corpus.jsonl": lines({"_id": "d1", "title": "Gout", "text": "Rest.", "metadata": {}}), "set/queries.jsonl": "x"},
       {"id": "d1", "title": "Gout", "text": "Rest."}) for name in ("nfcorpus", "scifact", "trec_covid")),
    ("covid_qa", {"COVID-QA.json": json.dumps({"data": [{"paragraphs": [{"context": "Rest.", "document_id": 630, "qas": []}]}]})},
     {"title": "", "text": "Rest."}),
    ("medrag_pubmed", {"chunk/pubmed23n0001.jsonl": lines({"id": "PMID:7547656", "title": "T", "content": "Bones."})},
     {"id": "PMID:7547656", "text": "Bones.", "section": "7547656"}),
    ("statpearls", {"article-1.nxml": ARTICLE}, {"id": "article-1.nxml", "title": "Gout: Care", "text": "Rest."}),
    ("statpearls", {"chunk/article-1.jsonl": lines({"id": "article-1_0", "title": "Gout -- Care", "content": "Rest.", "contents": "x"})},
     {"id": "article-1_0", "title": "Gout -- Care", "text": "Rest."}),
    ("medrag_pubmed", {"chunk/pubmed23n0001.jsonl": lines(SNIPPET)}, {"id": "snippet_0", "text": "Bones."}),
    ("medrag_wikipedia", {"chunk/wiki_0.jsonl.gz": lines(SNIPPET)}, {"id": "snippet_0", "text": "Bones."}),
    ("medqa_textbooks", {"en/Anatomy_Gray.txt": "Bones are\nhard.\n"},
     {"id": "en/Anatomy_Gray.txt", "title": "Anatomy Gray", "text": "Bones are hard."}),
    ("statpearls", {"statpearls_NBK430685.tar.gz": archive(**{"statpearls_NBK430685/article-1": ARTICLE})},
     {"id": "statpearls_NBK430685/article-1.nxml", "title": "Gout: Care", "text": "Rest."}),
    ("openstax", {"osbooks-bones.tar.gz": archive(**{"r/modules/m1/index.cnxml": MODULE})}, {"id": "m1", "title": "Gout", "text": "Rest."}),
    ("clinical_notes", {"discharge.csv.gz": 'note_id,subject_id,text\nn1,1,"Name: ___\nFever."\n'}, {"id": "n1", "text": "Name: ___\nFever."}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "first"), CORPORA, ids=[c[0] for c in CORPORA])
def test_a_corpus_is_read_from_local_files_of_its_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, str], first: dict[str, Any]
) -> None:
    write(tmp_path / "raw", files)
    write(tmp_path / "q", {"q.jsonl": lines({**MEDQA, "id": "q1", "split": "test"})})
    sources = {"q": {"path": str(tmp_path / "q")}, name: {"path": str(tmp_path / "raw")}}
    corpora = [{"corpus": name, "count": 0, "texts_sha256": ""}]
    run(tmp_path, sources, {"source": "q", "fields": {"answer": "answer_idx"}}, corpora=corpora)
    found = pq.read_table(tmp_path / "prepare/passages.parquet").to_pylist()
    assert len(found) == 1
    assert {k: found[0][k] for k in first} == first


HUB_CORPORA: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("pubmedqa_abstracts", PUBMED, {"id": "21645374", "title": "", "text": "One.\n\nTwo."}),
    ("medrag_textbooks", SNIPPET, {"id": "snippet_0", "title": "Anatomy", "text": "Bones."}),
    ("medrag_pubmed", {**SNIPPET, "PMID": 21645374}, {"id": "snippet_0", "title": "Anatomy", "section": "21645374"}),
    ("medrag_wikipedia", SNIPPET, {"id": "snippet_0", "title": "Anatomy", "text": "Bones."}),
    ("guidelines", {"id": "g1", "source": "who", "title": "Care", "clean_text": "# Gout\nRest.", "raw_text": "x"},
     {"id": "g1", "title": "Care: Gout", "text": "Rest."}),
]  # fmt: skip


def test_every_corpus_card_is_read_in_the_forms_that_it_names() -> None:
    """Fix: give the card a line in CORPORA, and one from the hub in HUB_CORPORA: files of its form, their first passage."""
    cards = {name: read_card(FOLDER / f"corpora/{name}.yaml") for name in names("corpora")}
    assert {c[0] for c in CORPORA} == set(cards)
    from_hub = {n for n, card in cards.items() if card.get("sources", {}).get(n, {}).get("origin") == "hub"}
    assert {c[0] for c in HUB_CORPORA} == from_hub


@pytest.mark.parametrize(("name", "row", "first"), HUB_CORPORA, ids=[c[0] for c in HUB_CORPORA])
def test_a_corpus_is_read_as_the_hubs_library_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, row: dict[str, Any], first: dict[str, Any]
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write(tmp_path / "set", {"data/train-00000-of-00001.jsonl": lines(row)})
    write(tmp_path / "q", {"q.jsonl": lines({**MEDQA, "id": "q1", "split": "test"})})
    sources = {"q": {"path": str(tmp_path / "q")}, name: {"origin": "hub", "path": str(tmp_path / "set")}}
    corpora = [{"corpus": name, "count": 1}]
    run(tmp_path, sources, {"source": "q", "fields": {"answer": "answer_idx"}}, corpora=corpora)
    [found] = pq.read_table(tmp_path / "prepare/passages.parquet").to_pylist()
    assert {k: found[k] for k in first} == first


@pytest.mark.parametrize(("name", "row", "first"), HUB_CORPORA, ids=[c[0] for c in HUB_CORPORA])
def test_a_corpus_is_read_from_a_local_copy_of_the_hubs_parquet(
    tmp_path: Path, name: str, row: dict[str, Any], first: dict[str, Any]
) -> None:
    parquet(tmp_path / "set", {"data/train-00000-of-00001.parquet": [row]})
    write(tmp_path / "q", {"q.jsonl": lines({**MEDQA, "id": "q1", "split": "test"})})
    sources = {"q": {"path": str(tmp_path / "q")}, name: {"path": str(tmp_path / "set")}}
    run(tmp_path, sources, {"source": "q", "fields": {"answer": "answer_idx"}}, corpora=[{"corpus": name, "count": 1}])
    [found] = pq.read_table(tmp_path / "prepare/passages.parquet").to_pylist()
    assert {k: found[k] for k in first} == first


def test_another_number_of_records_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "raw", {"a.jsonl": lines({"id": "a", "content": "Bones."})})
    write(tmp_path / "q", {"q.jsonl": lines({**MEDQA, "id": "q1", "split": "test"})})
    sources = {"q": {"path": str(tmp_path / "q")}, "medrag_textbooks": {"path": str(tmp_path / "raw")}}
    with pytest.raises(UserError, match="medrag_textbooks: 1 record, 125,847 are expected: another edition"):
        run(
            tmp_path,
            sources,
            {"source": "q", "fields": {"answer": "answer_idx"}},
            corpora=[{"corpus": "medrag_textbooks"}],
        )
