"""Records of published question sets whose form is not one question with named fields: record in, records out.

    list(mirage(Record({"_key": "medqa", "0000": {"question": ..., "options": {...}, "answer": "B"}}, "benchmark.json")))

Each is named by the option `adapter` of its card (config/datasets). Sources: BioASQ's task B files
(participants-area.bioasq.org/general_information/Task12b), MIRAGE's benchmark.json (arXiv 2402.13178), MMLU's CSV
folders (arXiv 2009.03300).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from jmlr.corpus.records import KEY, Record
from jmlr.runtime.errors import UserError


def bioasq(record: Record) -> Iterator[Record]:
    """Yield a question of BioASQ; answers stand there as texts or lists of texts, and 'yes' in any case."""
    fields = {k: " ".join(_texts(record.fields.get(k))) for k in ("exact_answer", "ideal_answer")}
    if record.fields.get("type") == "yesno":
        fields["exact_answer"] = fields["exact_answer"].strip(" .").casefold()
    yield replace(record, fields={**record.fields, **fields})


def mirage(record: Record) -> Iterator[Record]:
    """Yield the questions of one of MIRAGE's five sets; its ids are unique only within it."""
    name = record.fields.get(KEY)
    for key, question in record.fields.items():
        if key == KEY:
            continue
        where = f"{record.where}: '{key}'"
        if not isinstance(question, dict):
            raise UserError(f"{where} is no object; allowed: set -> id -> question")
        yield Record({**question, "id": f"{name}-{key}", "dataset": f"mirage_{name}"}, where, record.file)


def mmlu(record: Record) -> Iterator[Record]:
    """Yield a question of MMLU with its subject, which the original files have in their names: anatomy_test.csv."""
    subject = PurePath(record.file).name.split(".")[0].rpartition("_")[0]
    yield replace(record, fields={**record.fields, "subject": subject})


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for v in value for text in _texts(v)]
    return [] if value is None else [str(value)]
