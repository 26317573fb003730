"""Review pages: one self-contained HTML file per reviewer, and the key that says which side was which system.

    kit = make_kit(run, ("jmlr", "rag"), seed=0, reviewers=["ann", "ben"], questions=30, secret=1234)
    kit.pages["ann"]        # HTML, works from disk without network
    kit.key                 # stays with whoever runs the review

Every reviewer gets the same questions (agreement needs that), in an order and with sides of their own. Pages hold no name of a
system, no right answer and no seed: sides are drawn from `secret`, which only the key has. What both systems did not write is not asked about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from jmlr.corpus.stored_passages import StoredPassages
from jmlr.report.load import read_parquet
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import answered, made
from jmlr.runtime.manifest import read_manifest
from jmlr.runtime.seeds import python_random, stream


@dataclass(frozen=True)
class Criterion:
    """What is compared, with the words for "both" and "neither"; `needs` is what both systems must have for it to make sense."""

    id: str
    title: str
    text: str
    both: str
    neither: str
    needs: Literal["", "rationale", "passages"] = ""


# The paper (arXiv 2402.17887) had professionals prefer one of two rationales, and looked for hallucinations; the points below are
# those of the rubric for language models as judges, in words for people.
CRITERIA = (
    Criterion("correctness", "Correctness", "Which chosen answer is right, or nearer to what is right?", "Both right", "Both wrong"),
    Criterion("reasoning", "Reasoning", "Whose reasons lead to the choice, step by step, without a gap or a contradiction?",
              "Both sound", "Both unsound", "rationale"),
    Criterion("truthfulness", "Truthfulness", "Who states less that is made up or unsupported (fewer hallucinations)?",
              "Both true", "Both untrue", "rationale"),
    Criterion("evidence", "Evidence", "Whose passages bear on the question, and are used as what they say?",
              "Both good", "Both poor", "passages"),
    Criterion("overall", "Overall", "Which answer would you rather give to a colleague?", "Either", "Neither"),
)  # fmt: skip
SIDES = ("left", "right")


@dataclass(frozen=True)
class Kit:
    """Pages by reviewer, and the key as JSON."""

    pages: dict[str, str]
    key: dict[str, Any]


def make_kit(
    run: Path,
    systems: tuple[str, str],
    *,
    seed: int,
    reviewers: Sequence[str],
    questions: int,
    secret: int,
    contact: str = "",
) -> Kit:
    """Make the pages and the key.

    Args:
        run: folder of a finished run
        systems: the two that are compared
        seed: of the trainings whose answers are shown
        reviewers: names, one page each
        questions: how many are drawn; 0: all that both systems answered
        secret: what order and sides are drawn from
        contact: whom the reviewers send their files to

    Raises:
        UserError: a folder is missing, or the systems have no question with options in common.
    """
    answers = [_answers(answered(run, name, seed) / "answers.parquet") for name in systems]
    made(run, run / "prepare")
    common = [i for i in answers[0] if i in answers[1] and answers[0][i]["answer"] >= 0]
    if not common:
        raise UserError(f"review: {systems[0]} and {systems[1]} have no question with options in common in '{run}'")
    drawn = sorted(common, key=lambda i: stream(secret, "drawn", i))[: questions or None]
    items = _items(run, drawn, systems, answers)
    criteria = _fitting(items, systems)
    text = json.dumps(
        [secret, list(systems), seed, items, [c.id for c in criteria]], ensure_ascii=False, sort_keys=True
    )
    kit = hashlib.sha256(text.encode()).hexdigest()[:16]
    names = {i: hashlib.sha256(f"{kit} {i}".encode()).hexdigest()[:12] for i in drawn}
    sides = {r: {names[i]: _sides(systems, secret, r, i) for i in drawn} for r in reviewers}
    shown = {r: [_shown(names[i], items[i], sides[r][names[i]]) for i in _order(drawn, secret, r)] for r in reviewers}
    about = {"kit": kit, "contact": contact, "criteria": [asdict(c) for c in criteria]}
    pages = {r: _page({**about, "reviewer": r, "items": own}, _invented(run)) for r, own in shown.items()}
    key = {"kit": kit, "run": str(run), "systems": list(systems), "seed": seed, "secret": secret,
           "criteria": [c.id for c in criteria], "of": len(common), "questions": {names[i]: i for i in drawn}, "sides": sides}  # fmt: skip
    return Kit(pages, key)


def _fitting(items: dict[str, dict[str, Any]], systems: tuple[str, str]) -> list[Criterion]:
    """Return the criteria that fit what was written: reasons are compared where both gave some, passages where both had some."""
    have = {
        what: all(any(item[s][what] for item in items.values()) for s in systems) for what in ("rationale", "passages")
    }
    return [c for c in CRITERIA if not c.needs or have[c.needs]]


def _invented(run: Path) -> bool:
    """Tell whether the demo's generator made up what is asked."""
    made = (read_manifest(path.parent) for path in run.glob("fetch/*/manifest.json"))
    return any((manifest.get("options") or {}).get("origin") == "demo" for manifest in made)


def _answers(path: Path) -> dict[str, dict[str, Any]]:
    columns = ["question_id", "answer", "predicted", "passages"]
    if path.is_file() and "rationale" in pq.read_schema(path).names:
        columns.append("rationale")
    return {r["question_id"]: r for r in read_parquet(path, columns).to_pylist()}


def _items(
    run: Path, drawn: Sequence[str], systems: tuple[str, str], answers: Sequence[dict[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Return what is shown of each question: its text and options, and each system's answer with its passages."""
    chosen = pc.field("id").isin(list(drawn))
    asked = read_parquet(run / "prepare/questions.parquet", ["id", "question", "options"], chosen).to_pylist()
    rows = sorted({row for found in answers for i in drawn for row in found[i]["passages"]})
    held = StoredPassages.open(run / "prepare").pairs(rows) if rows else []
    texts = {row: {"title": title or "", "text": text} for row, (title, text) in zip(rows, held, strict=True)}
    return {
        q["id"]: {
            "question": q["question"],
            "options": q["options"],
            **{name: _reply(found[q["id"]], q["options"], texts) for name, found in zip(systems, answers, strict=True)},
        }
        for q in asked
    }


def _reply(answer: dict[str, Any], options: Sequence[str], texts: dict[int, dict[str, str]]) -> dict[str, Any]:
    chosen = answer["predicted"]
    said = options[chosen] if chosen >= 0 else "(no answer that could be read)"
    return {
        "answer": said,
        "rationale": answer.get("rationale") or "",
        "passages": [texts[row] for row in answer["passages"]],
    }


def _order(drawn: Sequence[str], secret: int, reviewer: str) -> list[str]:
    return sorted(drawn, key=lambda i: stream(secret, "order", reviewer, i))


def _sides(systems: tuple[str, str], secret: int, reviewer: str, question: str) -> dict[str, str]:
    return dict(zip(SIDES, python_random(secret, "sides", reviewer, question).sample(systems, 2), strict=True))


def _shown(name: str, item: dict[str, Any], sides: dict[str, str]) -> dict[str, Any]:
    return {"id": name, "question": item["question"], "options": item["options"], **{s: item[sides[s]] for s in SIDES}}


def _page(data: dict[str, Any], invented: bool) -> str:
    """Return a reviewer's page. Data stand in it as JSON whose "<" is escaped, so that no text can end the script."""
    folder = resources.files(__package__)
    parts = {
        name: (folder / file).read_text(encoding="utf-8") for name, file in (("css", "page.css"), ("js", "page.js"))
    }
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        (folder / "page.html.jinja").read_text(encoding="utf-8")
    )
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    parts["data"] = text
    return template.render(
        reviewer=data["reviewer"],
        contact=data["contact"],
        invented=invented,
        **{k: Markup(v) for k, v in parts.items()},
    )
