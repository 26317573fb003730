"""What reviewers' files say together: preferences with intervals, and how far the reviewers agree.

    result = merge(key, [json.loads(f.read_text()) for f in files])
    result["criteria"][0]["preference"], result["criteria"][0]["alpha"]

For each criterion a rating is worth 1 (the first system), 1/2 (both or neither) or 0 (the second); "cannot judge" is no rating,
and is counted. The preference is the mean over questions
of the mean over their reviewers; its interval draws questions (reviewers of one question are not independent). The test is
the sign test over questions, ties left out, corrected after Holm for the number of criteria. Krippendorff's alpha takes second <
both or neither < first as an ordinal scale. Comments come back with their question and reviewer.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jmlr.metrics.statistics.alpha import krippendorff_alpha
from jmlr.metrics.statistics.holm import holm
from jmlr.metrics.statistics.interval import interval
from jmlr.metrics.statistics.mcnemar import mcnemar
from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError

CHOICES = ("left", "both", "neither", "right", "unsure")
SAMPLES = 2000


def merge(key: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of a review.

    Args:
        key: of the kit
        files: what reviewers saved, by the name of the file (for messages)

    Raises:
        UserError: a file is of another kit, of an unknown reviewer, of one who sent another file, or holds what the page
            cannot have written.
    """
    ratings: dict[str, dict[str, dict[str, str]]] = {}
    comments: list[dict[str, str]] = []
    for name, found in files.items():
        reviewer = _check(key, name, found)
        if reviewer in ratings:
            raise UserError(f"'{name}': a second file of reviewer '{reviewer}'; give the last one only")
        ratings[reviewer] = found["answers"]
        comments += _comments(key, name, reviewer, found.get("comments") or {})
    items = list(key["questions"])
    rows = [_criterion(c, _worth(key, ratings, items, c), _counts(ratings, items, c)) for c in key["criteria"]]
    for row, p in zip(rows, holm([r["p"] for r in rows]), strict=True):
        row["p_holm"] = p
    missing = len(ratings) * len(items) * len(rows) - sum(r["ratings"] + r["unsure"] for r in rows)
    return {"kit": key["kit"], "systems": key["systems"], "reviewers": sorted(ratings), "absent": sorted(set(key["sides"]) - set(ratings)),
            "questions": len(items), "missing_ratings": missing, "criteria": rows,
            "comments": comments}  # fmt: skip


def _check(key: Mapping[str, Any], name: str, found: Any) -> str:
    """Return the reviewer of a file, or say what is wrong with it."""
    if not isinstance(found, dict) or not isinstance(found.get("answers"), dict):
        raise UserError(f"'{name}': not a file that a review page saved")
    if found.get("kit") != key["kit"]:
        raise UserError(f"'{name}': of kit '{found.get('kit')}'; the key is of '{key['kit']}'")
    reviewer = found.get("reviewer")
    if reviewer not in key["sides"]:
        raise UserError(f"'{name}': no reviewer '{reviewer}' (reviewers: {', '.join(key['sides'])})")
    for item, given in found["answers"].items():
        if item not in key["questions"] or not isinstance(given, dict):
            raise UserError(f"'{name}': no question '{item}' in this kit")
        for criterion, choice in given.items():
            if criterion not in key["criteria"] or choice not in CHOICES:
                raise UserError(f"'{name}': question '{item}': {criterion} = {choice!r}; allowed: {', '.join(CHOICES)}")
    return str(reviewer)


def _comments(key: Mapping[str, Any], name: str, reviewer: str, given: Any) -> list[dict[str, str]]:
    """Return a reviewer's comments with the ids that the run's questions have."""
    if not isinstance(given, dict) or not all(
        i in key["questions"] and isinstance(text, str) for i, text in given.items()
    ):
        raise UserError(f"'{name}': comments: allowed: texts, by question of this kit")
    return [
        {"question": key["questions"][i], "reviewer": reviewer, "text": text.strip()}
        for i, text in given.items()
        if text.strip()
    ]


def _counts(
    ratings: Mapping[str, Mapping[str, Mapping[str, str]]], items: Sequence[str], criterion: str
) -> Counter[str]:
    """Return how often each choice was made."""
    return Counter(c for given in ratings.values() for item in items if (c := given.get(item, {}).get(criterion)))


def _worth(
    key: Mapping[str, Any], ratings: Mapping[str, Mapping[str, Mapping[str, str]]], items: Sequence[str], criterion: str
) -> np.ndarray:
    """Return what each rating is worth to the first system: [reviewers, questions], NaN where there is none."""
    first = key["systems"][0]
    worth = np.full((len(ratings), len(items)), np.nan)
    for row, (reviewer, given) in enumerate(ratings.items()):
        for column, item in enumerate(items):
            choice = given.get(item, {}).get(criterion)
            if choice in ("both", "neither"):
                worth[row, column] = 0.5
            elif choice in ("left", "right"):
                worth[row, column] = float(key["sides"][reviewer][item][choice] == first)
    return worth


def _criterion(name: str, worth: np.ndarray, chosen: Counter[str]) -> dict[str, Any]:
    known = ~np.isnan(worth)
    rated = known.any(0)
    means = np.array([worth[known[:, i], i].mean() for i in np.flatnonzero(rated)])
    low, high = interval([means], samples=SAMPLES) if len(set(means)) > 1 else (None, None)  # all alike: no interval
    alpha = krippendorff_alpha(worth, "ordinal")
    return {
        "criterion": name,
        "ratings": int(known.sum()),
        "questions": int(rated.sum()),
        "first": int((worth[known] == 1).sum()),
        "both": chosen["both"],
        "neither": chosen["neither"],
        "second": int((worth[known] == 0).sum()),
        "unsure": chosen["unsure"],
        "preference": float(means.mean()) if len(means) else None,
        "low": low,
        "high": high,
        "p": mcnemar(int((means > 0.5).sum()), int((means < 0.5).sum())),
        "alpha": None if math.isnan(alpha) else alpha,
    }


def read_result(path: str) -> dict[str, Any] | None:
    """Return what `jmlr review merge` wrote into a file; None for no path.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    if not path:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        row = {
            "criterion",
            "ratings",
            "first",
            "both",
            "neither",
            "second",
            "unsure",
            "preference",
            "low",
            "high",
            "p_holm",
            "alpha",
        }
        if len(found["systems"]) != 2 or not all(row <= set(c) for c in found["criteria"]):
            raise ValueError
        return {
            key: found[key] for key in ("systems", "reviewers", "questions", "missing_ratings", "criteria", "comments")
        }
    except OSError:
        raise UserError(f"report.review: there is no '{path}'") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"report.review: '{path}': not a result of `jmlr review merge`") from None


def table(result: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    first, second = result["systems"]
    lines = [
        f"Preference for {first} beside {second}: {count_of(len(result['reviewers']), 'reviewer')} ({', '.join(result['reviewers'])}), "
        f"{count_of(result['questions'], 'question')}, {count_of(result['missing_ratings'], 'rating')} not given.",
        *([f"No file of {', '.join(result['absent'])}."] if result["absent"] else []),
        "",
        f"| criterion | preference, % | 95 % interval | {first} | both | neither | {second} | cannot judge | p, corrected | alpha |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in result["criteria"]:
        share = "-" if row["preference"] is None else f"{100 * row['preference']:.1f}"
        between = "-" if row["low"] is None else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        alpha = "-" if row["alpha"] is None else f"{row['alpha']:.2f}"
        lines.append(
            f"| {row['criterion']} | {share} | {between} | {row['first']} | {row['both']} | {row['neither']} | {row['second']} "
            f"| {row['unsure']} | {row['p_holm']:.3f} | {alpha} |"
        )
    lines += [
        "",
        "A preference of 50 % is none; '-' as interval: all questions alike.",
        "alpha: Krippendorff's, ordinal; 1 agreement, 0 chance; '-' where it is not defined.",
    ]
    if result["comments"]:
        lines += ["", "## Comments", ""]
        lines += [f"- {c['question']} ({c['reviewer']}): {' '.join(c['text'].split())}" for c in result["comments"]]
    return "\n".join(lines) + "\n"
