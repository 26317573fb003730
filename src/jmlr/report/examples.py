"""Questions that joint training changed: what each system read and answered. The first ones in the order of the test set, not the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from jmlr.corpus.prompt import passage_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.report.load import Run, System, read_parquet
from jmlr.report.pool import counterpart, main_joint

COLUMNS = ("question_id", "split", "answer", "predicted", "probabilities", "passages", "ids")


@dataclass(frozen=True)
class Read:
    """A passage as it was read."""

    id: str
    text: str
    gold: bool


@dataclass(frozen=True)
class Reply:
    """One system's answer to one question."""

    title: str
    answer: str
    right: bool
    probability: float | None
    passages: Sequence[Read]
    rationale: str


@dataclass(frozen=True)
class Example:
    """A question with the answers before and after joint training."""

    question: str
    options: Sequence[str]
    gold: str
    before: Reply
    after: Reply

    @property
    def gained(self) -> bool:
        """Whether joint training made the answer right."""
        return self.after.right


@dataclass(frozen=True)
class Changes:
    """How many questions joint training won and lost in one seed, with examples."""

    joint: System
    frozen: System
    seed: int
    gained: int
    lost: int
    same: int
    examples: Sequence[Example]


def changes(run: Run, most: int) -> Changes | None:
    """Return what joint training changed beside the same system with a frozen retriever; None where there is no such pair.

    Of the questions whose passages and answers changed, the first ones are shown; one of them is a loss if there is one.
    """
    joint = main_joint(run)
    frozen = counterpart(run, joint) if joint else None
    seeds = [s for s in run.seeds_of(joint.name) if s in run.seeds_of(frozen.name)] if joint and frozen else []
    if joint is None or frozen is None or not seeds:
        return None
    before, after = (_answers(run, s.name, seeds[0]) for s in (frozen, joint))
    common = [i for i in after if i in before and after[i]["answer"] >= 0]
    gained = [i for i in common if _right(after[i]) and not _right(before[i])]
    lost = [i for i in common if _right(before[i]) and not _right(after[i])]
    moved = [[i for i in ids if before[i]["ids"] != after[i]["ids"]] for ids in (gained, lost)]
    last = moved[1][: min(1, most)]
    chosen = [*moved[0][: most - len(last)], *last]
    return Changes(
        joint, frozen, seeds[0], len(gained), len(lost), len(common) - len(gained) - len(lost),
        _examples(run, chosen, {frozen.title: before, joint.title: after}),
    )  # fmt: skip


def _answers(run: Run, system: str, seed: int) -> dict[str, dict[str, Any]]:
    path = run.answers[system, seed].path
    more = {"rationale"} & set(pq.read_schema(path).names)  # where the system argued
    return {r["question_id"]: r for r in read_parquet(path, [*COLUMNS, *more]).to_pylist()}


def _right(answer: dict[str, Any]) -> bool:
    return bool(answer["predicted"] == answer["answer"])


def _examples(run: Run, ids: Sequence[str], replies: dict[str, dict[str, dict[str, Any]]]) -> list[Example]:
    if not ids:
        return []
    columns = ["id", "question", "options", "answer_text", "gold_ids"]
    questions = {
        q["id"]: q
        for q in read_parquet(run.prepared / "questions.parquet", columns, pc.field("id").isin(list(ids))).to_pylist()
    }
    rows = {row for answers in replies.values() for i in ids for row in answers[i]["passages"]}
    texts = _texts(run, rows)
    found = []
    for i in ids:
        q = questions[i]
        before, after = (_reply(title, answers[i], q, texts) for title, answers in replies.items())
        found.append(Example(q["question"], q["options"], q["answer_text"], before, after))
    return found


def _texts(run: Run, rows: Iterable[int]) -> dict[int, str]:
    wanted = sorted(set(rows))
    held = StoredPassages.open(run.prepared).pairs(wanted) if wanted else []
    return {row: passage_text(*pair) for row, pair in zip(wanted, held, strict=True)}


def _reply(title: str, answer: dict[str, Any], question: dict[str, Any], texts: dict[int, str]) -> Reply:
    chosen = answer["predicted"]
    passages = [
        Read(i, texts[row], i in question["gold_ids"]) for i, row in zip(answer["ids"], answer["passages"], strict=True)
    ]
    text = question["options"][chosen] if chosen >= 0 else "(not parsed)"
    probability = answer["probabilities"][chosen] if chosen >= 0 and answer["probabilities"] else None
    return Reply(title, text, _right(answer), probability, passages, answer.get("rationale") or "")
