"""Questions that a published set asks more than once: found, told, and on request counted once.

    groups = repeated(questions)              # [[7, 9], ...]: indexes of the questions of each group
    in_several_splits(questions)              # {("test", "train"): [[7, 12], ...]}, over all datasets

Two questions are the same if their texts are and the sets of their options, but for case, blanks
and the punctuation of sentences ("... is" and "... is:-"); signs stay, since "< 5" is not "> 5". Groups whose questions name
different answers contradict themselves: no one can say which is right.
MIRAGE has 100 such groups, since MMLU's college_medicine repeats questions of clinical_knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jmlr.corpus.seen import exact_hash, normalised

Question = Mapping[str, Any]
PUNCTUATION = re.compile(r"""[\s.,:;?!'"()_]+|-+(?!\d)""")


def repeated(questions: Sequence[Question]) -> list[list[int]]:
    """Return the indexes of the same questions of a dataset and split, group by group, in the order of the first of each."""
    return _groups(questions, "dataset", "split")


def in_several_splits(questions: Sequence[Question]) -> dict[tuple[str, ...], list[list[int]]]:
    """Return the groups of the same questions that splits share, of whatever datasets: names of the splits -> groups."""
    found: dict[tuple[str, ...], list[list[int]]] = {}
    for group in _groups(questions):
        splits = tuple(sorted({questions[i]["split"] for i in group}))
        if len(splits) > 1:
            found.setdefault(splits, []).append(group)
    return found


def contradicts(questions: Sequence[Question], group: Sequence[int]) -> bool:
    """Tell whether the questions of a group have different answers."""
    return len({_words(questions[i]["answer_text"]) for i in group}) > 1


def left_out(questions: Sequence[Question], groups: Sequence[Sequence[int]]) -> dict[int, str]:
    """Return what to leave out so that each question is counted once: index -> reason.

    Of a group the first stays; of one that contradicts itself none does.
    """
    out: dict[int, str] = {}
    for group in groups:
        first, second = (questions[i]["id"] for i in group[:2])
        differ = contradicts(questions, group)
        out |= dict.fromkeys(
            group[1:], f"repeated: the question of '{first}'{', with different answers' if differ else ''}"
        )
        if differ:
            out[group[0]] = f"repeated: the question of '{second}', with different answers"
    return out


def _groups(questions: Sequence[Question], *within: str) -> list[list[int]]:
    """Return the groups of two and more of the same questions, whose fields `within` are the same, too."""
    groups: dict[int, list[int]] = {}
    for index, question in enumerate(questions):
        options = sorted(map(_words, question["options"]))
        key = exact_hash("\n".join((*(question[name] for name in within), _words(question["question"]), *options)))
        groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _words(text: str) -> str:
    return " ".join(PUNCTUATION.sub(" ", normalised(text)).split())
