"""Questions with their candidates, and passages, as the token ids that the models read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from jmlr.corpus.citations import BRACKET, numbered
from jmlr.corpus.prompt import Prompter, passage_text, query_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.corpus.tables import read_table
from jmlr.inference.passage_vectors import PassageVectors
from jmlr.models.retriever import Retriever
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say


@dataclass(frozen=True)
class Reasoning:
    """A question whose answer is written after a rationale.

    Attributes:
        prompt: with the last words before the rationale.
        answer: rationale, answer and end of text, where no passage is cited.
        citing: makes the same with citations, from the numbers of the passages that are read, by row; None: the explanation cites none.
    """

    prompt: list[int]
    answer: list[int]
    citing: Callable[[Mapping[int, int]], list[int]] | None = None


@dataclass(frozen=True)
class Question:
    """One question, ready for the step."""

    number: int
    query: list[int]
    prompt: list[int]
    answer: list[int]
    candidates: list[int]
    scores: list[float]
    gold: frozenset[int]
    answer_text: str = ""
    reasoning: Reasoning | None = None


@dataclass
class Passages:
    """The passages by row number; tokenised before their first use, since training sees few of millions: 4 bytes a token.

    table: their texts; None where there are none to read.
    kept: their vectors, where their encoder stays as it is, so that none is encoded again; else None.
    """

    table: StoredPassages | None
    prompter: Prompter
    retriever: Retriever | None
    retriever_passage_tokens: int
    kept: PassageVectors | None = None

    def __post_init__(self) -> None:
        self._read: dict[int, Sequence[int]] = {}
        self._encoded: dict[int, Sequence[int]] = {}

    def titles_and_texts(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return the titles and texts of passages, in the order of their rows."""
        assert self.table is not None
        return self.table.pairs(rows)

    def read_ahead(self, rows: Iterable[int]) -> None:
        """Tokenise passages, all together; what is known already costs nothing."""
        new = [row for row in dict.fromkeys(rows) if row not in self._read]
        if not new:
            return
        pairs = self.titles_and_texts(new)
        for row, ids in zip(new, self.prompter.passages(pairs), strict=True):
            self._read[row] = array("i", ids)
        if self.retriever is not None:
            encoded = self.retriever.tokenize([passage_text(*pair) for pair in pairs], self.retriever_passage_tokens)
            for row, ids in zip(new, encoded, strict=True):
                self._encoded[row] = array("i", ids)

    def for_llm(self, row: int) -> Sequence[int]:
        """Return the tokens that the LLM reads."""
        if row not in self._read:
            self.read_ahead([row])
        return self._read[row]

    def for_retriever(self, row: int) -> Sequence[int]:
        """Return the tokens that the retriever encodes."""
        assert self.retriever is not None
        if row not in self._encoded:
            self.read_ahead([row])
        return self._encoded[row]


def reading_of(
    passages: Passages, question: Question, best: Sequence[int], order: Sequence[int], answer_tokens: int
) -> tuple[list[int], list[int]]:
    """Return a prompt with several passages, and what is to follow it: the answer, or a rationale and then the answer.

    A rationale cites those of its gold passages that stand in the prompt, by their numbers.

    Args:
        passages: whose rows are read.
        question: which says whether a rationale is learned.
        best: rows of the passages, best first; in front of a rationale the first is [P1].
        order: the same rows as they stand in the prompt.
        answer_tokens: kept free for an answer without a rationale.
    """
    prompter, reasoning = passages.prompter, question.reasoning
    if reasoning is None:
        return prompter.prompt(
            question.prompt, [passages.for_llm(row) for row in order], answer_tokens
        ), question.answer
    pairs = passages.titles_and_texts(best) if best else []
    tokens = dict(zip(best, prompter.passages(pairs, numbered=True) if pairs else [], strict=True))
    read = [tokens[row] for row in order]
    if reasoning.citing is None:
        return prompter.prompt(reasoning.prompt, read, len(reasoning.answer)), reasoning.answer
    numbers = {row: number for number, row in enumerate(best, 1)}
    answer = reasoning.citing(numbers)
    room, dropped = len(answer), len(order) - prompter.fitting(reasoning.prompt, read, len(answer))
    if dropped:
        answer = reasoning.citing({row: numbers[row] for row in order[dropped:]})
    return prompter.prompt(reasoning.prompt, read, room), answer


def read_questions(
    prepared: Path,
    candidates: Path | None,
    prompter: Prompter,
    retriever: Retriever | None,
    *,
    split: str,
    query_options: bool,
    retriever_query_tokens: int,
    rationale: tuple[str, int] | None = None,
) -> list[Question]:
    """Return the questions of a split that have an answer, with their candidates (none where `candidates` is None).

    rationale: the last words before a rationale, and its most tokens, where explanations are learned; None: they are not.

    Raises:
        UserError: the split is empty, none of its questions has an answer, or an explanation where they are learned, an answer is missing, or a
            question has no candidates or one of them twice.
    """
    chosen = _chosen(prepared, split, bool(rationale))
    found = _candidates(candidates)
    gold = _gold_rows(prepared, chosen)
    passages_there = len(StoredPassages.open(prepared)) if found is not None else 0
    questions = []
    for number, record in enumerate(chosen.to_pylist()):
        passages, scores = found.get(record["id"], ([], [])) if found is not None else ([], [])
        if found is not None:
            _check(f"{candidates}/candidates.parquet: question '{record['id']}'", passages, scores, passages_there)
        query = query_text(record["question"], record["options"], query_options)
        answer = prompter.answer(record["answer"], record["options"], record["answer_text"])
        if len(answer) < 2:
            raise UserError(
                f"{prepared}/questions.parquet: question '{record['id']}' has an answer of no tokens; "
                f"give it one, and let llm_answer_tokens ({prompter.llm_answer_tokens}) be at least 2"
            )
        words = record["answer_text"] or (record["options"][record["answer"]] if record["answer"] >= 0 else "")
        questions.append(
            Question(
                number=number,
                query=retriever.tokenize([query], retriever_query_tokens, "query")[0] if retriever else [],
                prompt=prompter.question(record["question"], record["options"]),
                answer=answer,
                candidates=passages,
                scores=scores,
                gold=frozenset(gold[number].values()),
                answer_text=words,
                reasoning=_reasoning(prompter, record, gold[number], rationale),
            )
        )
    if rationale:
        _say_cited(chosen["explanation"].to_pylist(), gold)
    return questions


def _say_cited(explanations: Sequence[str], gold: Sequence[Mapping[str, int]]) -> None:
    """Say what is learned: how many explanations, how many cite a gold passage, how many have a bracket that is none."""
    brackets = [set(BRACKET.findall(said)) for said in explanations if said]
    own = [set(ids) for said, ids in zip(explanations, gold, strict=True) if said]
    citing, others = (
        sum(map(bool, found))
        for found in (
            [b & ids for b, ids in zip(brackets, own, strict=True)],
            [b - ids for b, ids in zip(brackets, own, strict=True)],
        )
    )
    say(
        f"explanations: {len(brackets):,} of {len(explanations):,} questions have one to learn; {citing:,} cite a gold passage by its id, "
        f"and {others:,} have a bracket that is no such id and is learned as it stands"
    )


def _chosen(prepared: Path, split: str, explained: bool) -> Any:
    """Return the table of a split's questions that have an answer; `explained`: some are to have an explanation."""
    table = read_table(prepared / "questions.parquet")
    chosen = table.filter(pc.equal(table["split"], split))
    if not len(chosen):
        raise UserError(f"{prepared / 'questions.parquet'}: no question of split '{split}'")
    chosen = chosen.filter(pc.or_kleene(pc.greater_equal(chosen["answer"], 0), pc.not_equal(chosen["answer_text"], "")))
    if not len(chosen):
        what = f"no question of split '{split}' has an answer; those without one count for retrieval alone"
        raise UserError(f"{prepared / 'questions.parquet'}: {what}")
    if explained and not any(chosen["explanation"].to_pylist()):
        what = (
            f"no question of split '{split}' has an explanation to learn; map the field, or leave train.rationale out"
        )
        raise UserError(f"{prepared / 'questions.parquet'}: {what}")
    return chosen


def _reasoning(
    prompter: Prompter, record: dict[str, Any], gold: Mapping[str, int], rationale: tuple[str, int] | None
) -> Reasoning | None:
    """Return what a question's explanation teaches, if there is one to learn; `gold`: id -> row of the passages that it may cite."""
    if rationale is None or not record["explanation"]:
        return None
    last_words, most = rationale
    answer, said = (record["answer"], record["options"], record["answer_text"]), record["explanation"]
    cited = {id: row for id, row in gold.items() if f"[{id}]" in said}

    def citing(numbers: Mapping[int, int]) -> list[int]:
        known = {id: numbers[row] for id, row in cited.items() if row in numbers}
        return prompter.reasoned(numbered(said, cited, known), *answer, last_words, most)

    prompt = prompter.question(record["question"], record["options"], last_words)
    return Reasoning(prompt, citing({}), citing if cited else None)


def _candidates(folder: Path | None) -> dict[str, tuple[list[int], list[float]]] | None:
    if folder is None:
        return None
    table = read_table(folder / "candidates.parquet", ["question_id", "passages", "scores"])
    return {r["question_id"]: (r["passages"], r["scores"]) for r in table.to_pylist()}


def _gold_rows(prepared: Path, questions: Any) -> list[dict[str, int]]:
    """Return every question's gold passages, id -> row: for figures and for what an explanation cites, never for the retriever."""
    gold = questions["gold_ids"].to_pylist()
    if "gold_rows" in questions.column_names:
        return [dict(zip(*pair, strict=True)) for pair in zip(gold, questions["gold_rows"].to_pylist(), strict=True)]
    # prepared by an earlier version: all ids are looked through
    wanted = {id for ids in gold for id in ids}
    passages = StoredPassages.open(prepared) if wanted else ()
    found = passages.run(0, len(passages), ("id",)) if passages else ()
    rows = {id: row for row, (id,) in enumerate(found) if id in wanted}
    return [{id: rows[id] for id in ids if id in rows} for ids in gold]


def _check(where: str, passages: list[int], scores: list[float], n: int) -> None:
    if not passages:
        raise UserError(f"{where} has no candidates; was the search made for these questions?")
    if len(set(passages)) < len(passages):
        raise UserError(f"{where} has a candidate twice")
    if len(scores) != len(passages):
        raise UserError(f"{where} has {len(passages)} candidates, but {len(scores)} scores")
    if not 0 <= min(passages) <= max(passages) < n:
        raise UserError(f"{where} names passage {max(passages)}; passages.parquet has {n}")
