"""Records of published question sets whose form is not one question with named fields: record in, records out.

    list(mirage(Record({"_key": "medqa", "0000": {"question": ..., "options": {...}, "answer": "B"}}, "benchmark.json")))

Each is named by the option `adapter` of its card (config/datasets, config/corpora). Sources: BioASQ's task B files
(participants-area.bioasq.org/general_information/Task12b), MIRAGE's benchmark.json (arXiv 2402.13178), MMLU's CSV
folders (arXiv 2009.03300), HEAD-QA's JSON (github.com/aghie/head-qa), AfriMed-QA's CSV (github.com/intron-innovation/
AfriMed-QA), MedXpertQA (arXiv 2501.18362), MMLU-Pro (arXiv 2406.01574), SQuAD's JSON (arXiv 1606.05250), MedRAG's
snippets (github.com/Teddy-XiongGZ/MedRAG).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath
from string import ascii_uppercase
from typing import Any

from jmlr.corpus.formats.json_values import Decoder
from jmlr.corpus.quotes import quoted
from jmlr.corpus.record import Record
from jmlr.corpus.records import KEY
from jmlr.runtime.errors import UserError

ABSENT = ("", "n/a")
CHOICES = re.compile(r"\s*Answer Choices:\s*\(A\).*\Z", re.S)


def afrimedqa(record: Record) -> Iterator[Record]:
    """Yield a question of AfriMed-QA: options stand there as a JSON object of five, 'N/A' where there are fewer."""
    options = record.fields.get("answer_options")
    with suppress(ValueError):  # no JSON, or a key twice: the reader of questions says what is wrong with them
        options = Decoder().decode(options) if isinstance(options, str) and options.strip() else options
    if isinstance(options, dict):
        options = {k: v for k, v in options.items() if str(v).strip().casefold() not in ABSENT}
    yield replace(record, fields={**record.fields, "answer_options": options})


def beir(record: Record) -> Iterator[Record]:
    """Yield a passage of a BEIR corpus; where it has a title alone (many of TREC-COVID), that is its text."""
    title, text = (record.fields.get(k) or "" for k in ("title", "text"))
    bare = isinstance(text, str) and not text.strip()
    yield replace(record, fields={**record.fields, "title": "" if bare else title, "text": title if bare else text})


def bioasq(record: Record) -> Iterator[Record]:
    """Yield a question of BioASQ; answers stand there as texts or lists of texts, and 'yes' in any case.

    `gold_ids` are the PMIDs of its documents, which are given as addresses (.../pubmed/23431439).
    """
    fields: dict[str, Any] = {k: " ".join(_texts(record.fields.get(k))) for k in ("exact_answer", "ideal_answer")}
    if record.fields.get("type") == "yesno":
        fields["exact_answer"] = fields["exact_answer"].strip(" .").casefold()
    addresses = _texts(record.fields.get("documents"))
    fields["gold_ids"] = list(dict.fromkeys(a.rstrip("/").rpartition("/")[2] for a in addresses))
    yield replace(record, fields={**record.fields, **fields})


def headqa(record: Record) -> Iterator[Record]:
    """Yield the questions of one of HEAD-QA's exams, or (from the hub) one question, which knows its exam.

    Ids are unique only within an exam, and `ra` names the answer's `aid`. Images stay: a filter leaves such questions out.
    """
    exam = {k: record.fields.get(k) for k in ("name", "year", "category")}
    questions = record.fields.get("data", [record.fields])
    for place, question in enumerate(questions if isinstance(questions, list) else [questions], 1):
        where = record.where if "data" not in record.fields else f"{record.where}: question {place}"
        if not isinstance(question, dict) or not {"qid", "qtext", "ra", "answers"} <= {*question}:
            raise UserError(f"{where}: no question of HEAD-QA; allowed: the fields qid, qtext, ra, answers")
        answers = [a for a in question["answers"] or [] if isinstance(a, dict)]
        numbers = [str(a.get("aid")).strip() for a in answers]
        right = str(question["ra"]).strip()
        image = question.get("image")
        image = image if not isinstance(image, dict) or any(image.values()) else None  # Parquet: an image of nothing
        fields = {**exam, **question, "image": image, "id": f"{str(exam['name']).strip()}-{str(question['qid']).strip()}",
                  "options": [a.get("atext") for a in answers], "answer": numbers.index(right) if right in numbers else f"aid {right}"}  # fmt: skip
        yield replace(record, fields=fields, where=where)


def medrag_pubmed(record: Record) -> Iterator[Record]:
    """Yield an abstract of MedRAG's PubMed with its PMID as `section`: the hub has a column, the toolkit ids 'PMID:...'."""
    pmid = record.fields.get("PMID") or str(record.fields.get("id", "")).partition("PMID:")[2]
    yield replace(record, fields={**record.fields, "section": pmid})


def medxpertqa(record: Record) -> Iterator[Record]:
    """Yield a question of MedXpertQA, whose text ends with its options once more: 'Answer Choices: (A) ... (B) ...'."""
    question = record.fields.get("question")
    if isinstance(question, str) and (end := CHOICES.search(question)):
        question = question[: end.start()]
    yield replace(record, fields={**record.fields, "question": question})


def mirage(record: Record) -> Iterator[Record]:
    """Yield the questions of one of MIRAGE's five sets; its ids are unique only within it.

    `gold_ids` are the PMIDs that a question names; PubMedQA's own ids are PMIDs, too.
    """
    name = record.fields.get(KEY)
    for key, question in record.fields.items():
        if key == KEY:
            continue
        where = f"{record.where}: {quoted(key)}"
        if not isinstance(question, dict):
            raise UserError(f"{where} is no object; allowed: set -> id -> question")
        gold = question.get("PMID") or ([key] if name == "pubmedqa" else [])
        fields = {**question, "id": f"{name}-{key}", "dataset": f"mirage_{name}", "gold_ids": gold}
        yield Record(fields, where, record.file)


def mmlu(record: Record) -> Iterator[Record]:
    """Yield a question of MMLU with its subject, which the original files have in their names: anatomy_test.csv."""
    subject = PurePath(record.file).name.split(".")[0].rpartition("_")[0]
    yield replace(record, fields={**record.fields, "subject": subject})


def mmlu_pro(record: Record) -> Iterator[Record]:
    """Yield a question of MMLU-Pro with its options as an object of letters; 'N/A' fills those that it has not."""
    options, index = record.fields.get("options"), record.fields.get("answer_index")
    if isinstance(options, list):
        kept = {letter: o for letter, o in zip(ascii_uppercase, options, strict=False) if o not in (None, "N/A")}
        text = options[index] if isinstance(index, int) and 0 <= index < len(options) else ""
        yield replace(record, fields={**record.fields, "options": kept, "answer_text": text})
    else:
        yield record


def squad(record: Record) -> Iterator[Record]:
    """Yield the questions of one article of SQuAD's form; the paragraph that answers is its gold passage."""
    for id, paragraph, where in _paragraphs(record):
        for question in paragraph.get("qas") or []:
            answers = [a.get("text") for a in question.get("answers") or [] if isinstance(a, dict)]
            fields = {**question, "answer": answers[0] if answers else "", "gold_ids": [id]}
            yield Record(fields, where, record.file)


def squad_paragraphs(record: Record) -> Iterator[Record]:
    """Yield the paragraphs of one article of SQuAD's form as passages."""
    for id, paragraph, where in _paragraphs(record):
        title = str(record.fields.get("title") or "").replace("_", " ")
        yield Record({"id": id, "title": title, "text": paragraph.get("context")}, where, record.file)


def _paragraphs(record: Record) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (id, paragraph, where) of an article; the id is that of its document (or its title) and a digest of the text."""
    paragraphs = record.fields.get("paragraphs")
    if not isinstance(paragraphs, list) or not all(isinstance(p, dict) for p in paragraphs):
        raise UserError(f"{record.where}: no article of SQuAD's form; allowed: an object with a list 'paragraphs'")
    for place, paragraph in enumerate(paragraphs, 1):
        name = paragraph.get("document_id") or record.fields.get("title") or "article"
        digest = hashlib.sha256(str(paragraph.get("context")).encode()).hexdigest()[:12]
        yield f"{name}-{digest}", paragraph, f"{record.where}: paragraph {place}"


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for v in value for text in _texts(v)]
    return [] if value is None else [str(value)]
