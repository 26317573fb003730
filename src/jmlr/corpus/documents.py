"""Reading documents: what a language model is pre-trained on; `targets` are the characters that it is to learn most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from jmlr.corpus.faults import Faults
from jmlr.corpus.fields import as_text
from jmlr.corpus.record import Record, RecordError
from jmlr.corpus.tables import stored_rows
from jmlr.runtime.errors import UserError

SPAN = pa.struct([("start", pa.int32()), ("end", pa.int32())])
SCHEMA = pa.schema([("text", pa.string()), ("targets", pa.list_(SPAN))])


def read_documents(records: Iterable[Record], source: str) -> Iterator[dict[str, Any]]:
    """Yield documents from records {"text": ..., "targets": [[start, end], ...]}; targets may be absent.

    Raises:
        UserError: after the last record, all that is wrong with them: no text, a target outside it; or no records at all.
    """
    faults = Faults(source)
    for record in faults.readable(records):
        document = faults.tried(_document, record)
        if document:
            yield document
    faults.end()
    if not faults.read:
        raise UserError(f"{source}: no documents: its files have no records")


def _document(record: Record) -> dict[str, Any]:
    text = record.fields.get("text")
    if not as_text(text, record.where, "'text'") or not isinstance(text, str):
        raise RecordError(record.where, "no text; allowed: {text, targets}")
    return {"text": text, "targets": [_span(t, len(text), record.where) for t in record.fields.get("targets") or []]}


def plain_documents(passages: Path) -> Iterator[dict[str, Any]]:
    """Yield the text of every passage, as running text without targets."""
    return ({"text": p["text"], "targets": []} for p in stored_rows(passages, ["text"]))


def _span(value: Any, length: int, where: str) -> dict[str, int]:
    pair: Any = [value.get("start"), value.get("end")] if isinstance(value, dict) else value
    whole = isinstance(pair, list) and len(pair) == 2 and all(type(v) is int for v in pair)
    if not whole or not 0 <= pair[0] < pair[1] <= length:
        allowed = f"[start, end] with 0 <= start < end <= {length}, the length of the text"
        raise RecordError(where, f"a target is not {allowed}", "a target that is none")
    return {"start": pair[0], "end": pair[1]}
