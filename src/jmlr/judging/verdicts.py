"""What a judge is shown, and what its verdict means (after JMLR, arXiv 2402.17887: GPT-4 preferred answers with rationales).

    text = comparison(question, first, second)           # the rubric, the question, both answers without names
    parse_verdict("... Verdict: 2")                      # "2"

Models prefer what stands first (Wang et al. 2023, arXiv 2305.17926). Every pair is therefore shown twice, in both orders, and
a preference counts only where both orders give it; otherwise the pair is a tie. A verdict that cannot be read is `unparsed`,
a class of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

A, B, TIE, UNPARSED = "a", "b", "tie", "unparsed"
LINE = re.compile(r"^[\s*_#>]*verdict\s*[*_]*\s*:[\s*_]*(?:answer\s*)?(1|2|tie)[\s*_.]*$", re.I | re.M)


def rubric() -> str:
    """Return the instructions to the judge."""
    return (Path(__file__).parent / "rubric.txt").read_text(encoding="utf-8").strip()


def rubric_digest() -> str:
    """Return the SHA-256 of the rubric, by which a reader knows what was asked."""
    return hashlib.sha256(rubric().encode()).hexdigest()


@dataclass(frozen=True)
class Shown:
    """One system's answer as the judge sees it: no name; passages as they are cited, [P1] first."""

    choice: str
    rationale: str
    passages: Sequence[str]

    def text(self, number: int) -> str:
        """Return it under a heading."""
        held = [f"[P{i}] {text}" for i, text in enumerate(self.passages, 1)] or ["(none)"]
        return "\n".join(
            [
                *(f"### Answer {number}", f"Choice: {self.choice or '(no option could be made out)'}"),
                *(f"Reasons: {self.rationale or '(none given)'}", "Passages that the author had:", *held),
            ]
        )


def comparison(question: str, options: str, key: str, first: Shown, second: Shown) -> str:
    """Return the whole prompt.

    Args:
        question: its text
        options: its lines 'A. ...'
        key: the right answer; "": the judge is not told
        first: what stands first
        second: what stands second
    """
    asked = ["### Question", question, options, *([f"The right answer: {key}"] if key else [])]
    return "\n\n".join(
        [rubric(), "\n".join(asked), first.text(1), second.text(2), "### Your reasons and verdict"],
    )


def parse_verdict(text: str) -> str:
    """Return "1", "2", "tie" or "unparsed": the one verdict that stands on a line of its own."""
    found = {m.lower() for m in LINE.findall(text)}
    return found.pop() if len(found) == 1 else UNPARSED


def seen_as(verdict: str, swapped: bool) -> str:
    """Return a verdict on places as one on systems: a stands first, or second where the order was swapped."""
    names = {"1": B if swapped else A, "2": A if swapped else B}
    return names.get(verdict, verdict)


def combined(forward: str, backward: str) -> str:
    """Return the verdict of both orders: a preference only where both agree."""
    if UNPARSED in (forward, backward):
        return UNPARSED
    return forward if forward == backward else TIE


def counts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how often each verdict was given, and how often the order decided."""
    held = Counter(r["verdict"] for r in rows)
    parsed = [r for r in rows if r["verdict"] != UNPARSED]
    return {"n": len(rows), "a_wins": held[A], "b_wins": held[B], "ties": held[TIE], "unparsed": held[UNPARSED],
            "order_dependent": sum(r["forward"] != r["backward"] for r in parsed)}  # fmt: skip
