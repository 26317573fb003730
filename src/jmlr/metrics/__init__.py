"""One metric a file, with its formula and source, and the folder's listing is the list; one number per question, so that intervals can be had.

`metrics/NAME.py` begins with "Heading: what it is" and holds a function NAME. Its parameters say what it is a metric of: it is
taken of the questions of which all of them are known (`FACTS`), and at every cut-off where `k` is one of them. A file with
`WHOLE = True` gets lists, and makes one number of all questions: such a figure has no interval.

Here: one metric per file; `statistics/` for intervals and tests of significance, `concepts/` for what some metrics compare.
May import: corpus, runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from jmlr.corpus.citations import cited
from jmlr.metrics.ece import sure
from jmlr.runtime.extras import require
from jmlr.runtime.variants import line_of, listed

require(__name__, "pyarrow")

Record = Mapping[str, Any]
# What people look for first; other metrics follow by their names.
FIRST = (
    *("accuracy", "unparsed", "ece", "hit", "hit_change", "recall", "ndcg", "mrr", "answer_hit"),
    *("citation_grounded", "citation_precision", "umls_f"),
)
OPTIONS, SURE = "questions with options", "answers with the probabilities of options"
GRADED, WORDED = "questions with gold passages, in every round", "datasets without gold passages, in every round"
WRITTEN, EXPLAINED = (
    "answers of systems that write rationales",
    "rationales of questions with a reference explanation",
)
FACTS = {  # parameter -> (what it is, of which questions it is known)
    "option": ("index of the right option", OPTIONS),
    "predicted": ("index of the option that was answered; -1: none could be parsed", OPTIONS),
    "confidence": ("probability of the option that was answered", SURE),
    "correct": ("1.0 where it is the right one", SURE),
    "ranked": ("ids of the candidates, best first", GRADED),
    "gold": ("ids of the gold passages, with their grades where `ranked` is known", GRADED),
    "start": ("`ranked` of round 0", "questions with gold passages, in every later round"),
    "texts": ("texts of the candidates, best first", WORDED),
    "answer": ("the right answer", WORDED),
    "numbers": ("passage numbers that a rationale cites, each once", WRITTEN),
    "passages": ("ids of those of them that were read", WRITTEN),
    "found": ("concepts of a rationale", EXPLAINED),
    "reference": ("concepts of the explanation", EXPLAINED),
    "k": ("cut-off", ""),
}


class Row(NamedTuple):
    """One figure before its interval: a value for each question; one value alone where it is no mean over them. `k`: "" for none."""

    round: int
    dataset: str
    split: str
    metric: str
    k: int | str
    values: list[float]
    ids: list[str]

    @property
    def whole(self) -> bool:
        """Whether the value is made of all questions at once."""
        return bool(getattr(metric(self.metric)[0], "WHOLE", False))


@dataclass(frozen=True)
class Known:
    """What is known of one question: values by the names of FACTS."""

    id: str
    dataset: str
    split: str
    facts: dict[str, Any]


def names() -> list[str]:
    """Return all metrics in the order in which people read them."""
    return sorted(listed("metrics"), key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


def heading(name: str) -> str:
    """Return what people call a metric.

    >>> heading("umls_f")
    'UMLS-F'
    """
    return line_of("metrics", name).partition(":")[0]


def metric(name: str) -> tuple[Any, list[str]]:
    """Return a metric's file, and what its function must be told."""
    file = import_module(f"jmlr.metrics.{name}")
    parameters = signature(getattr(file, name)).parameters.values()
    return file, [p.name for p in parameters if p.default is p.empty]


def rows(questions: Iterable[Known], round: int, cut_offs: Iterable[int] = ()) -> Iterator[Row]:
    """Yield the figures of every dataset and split: of each metric that any of its questions has what it takes for.

    Args:
        questions: what is known of each
        round: of the retriever behind it
        cut_offs: k of the metrics that have one
    """
    groups: dict[tuple[str, str], list[Known]] = {}
    for question in questions:
        groups.setdefault((question.dataset, question.split), []).append(question)
    metrics = [(name, *metric(name)) for name in names()]
    for (dataset, split), members in groups.items():
        for name, file, needed in metrics:
            own = [q for q in members if q.facts.keys() >= {*needed} - {"k"}]
            for k in (cut_offs if "k" in needed else ("",)) if own else ():
                told = [{n: k if n == "k" else q.facts[n] for n in needed} for q in own]
                if getattr(file, "WHOLE", False):
                    told = [{n: [facts[n] for facts in told] for n in needed}]
                values = [float(getattr(file, name)(**facts)) for facts in told]
                yield Row(round, dataset, split, name, k, values, [q.id for q in own])


def answered(
    answers: Iterable[Record], questions: Mapping[str, Record], find: Callable[[str], Iterable[str]] | None
) -> list[Known]:
    """Return what is known of answers.

    Where any answer has a rationale, one without counts as 0: no concepts, and nothing cited where passages were read.

    Args:
        answers: with `dataset`, and `ids` of the passages that were read; where `answer` resolved its citations, with
            `citations` (numbers from 1) and `cited_ids`
        questions: by id, with `gold_ids` and `explanation`
        find: the concepts of a text; None: there are none to be found
    """
    answers = list(answers)
    written = any(a.get("rationale") for a in answers)
    return [
        Known(a["question_id"], a["dataset"], a["split"], {
            **_chosen(a), **(_argued(a, questions[a["question_id"]], find) if written else {}),
        })
        for a in answers
    ]  # fmt: skip


def _chosen(answer: Record) -> dict[str, Any]:
    if answer.get("answer", -1) < 0:
        return {}
    option, predicted = answer["answer"], answer["predicted"]
    facts = {"option": option, "predicted": predicted}
    if (pair := sure(answer)) is not None:
        facts |= {"confidence": pair[0], "correct": pair[1]}
    return facts


def _argued(answer: Record, question: Record, find: Callable[[str], Iterable[str]] | None) -> dict[str, Any]:
    text, facts = answer.get("rationale") or "", dict[str, Any]()
    numbers, passages = answer.get("citations"), answer.get("cited_ids")
    if numbers is None or passages is None:
        numbers = cited(text)
        passages = [answer["ids"][n - 1] for n in numbers if 1 <= n <= len(answer["ids"] or [])]
    if numbers or answer["ids"]:
        facts |= {"numbers": numbers, "passages": passages}
        facts |= {"gold": question["gold_ids"]} if question["gold_ids"] else {}
    reference = set(find(question["explanation"])) if find and question["explanation"] else set()
    if find and reference:
        facts |= {"found": set(find(text)) if text else set(), "reference": reference}
    return facts


def grades_of(question: Record) -> dict[str, int]:
    """Return a question's gold passages, id -> grade; 1 where a table knows no grades."""
    ids = question["gold_ids"]
    return dict(zip(ids, question.get("gold_grades") or [1] * len(ids), strict=True))


def write_values(path: Path, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write one record for each figure: round, dataset, split, metric, k (0: none), and the ids and values of its questions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("round", pa.int32()), ("dataset", pa.string()), ("split", pa.string()), ("metric", pa.string()), ("k", pa.int32()),
         ("ids", pa.list_(pa.string())), ("values", pa.list_(pa.float64()))]
    )  # fmt: skip
    records = [dict(zip(Row._fields, (*row[:4], row[4] or 0, *row[5:]), strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path, compression="zstd")
