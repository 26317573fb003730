"""A row of a finished run, opened once: the class by which `jmlr ask` and `jmlr serve` answer.

    system = System.open(row_of(run, "jmlr", 0))
    [said] = system.answer([Asked("Which drug ...?", ["aspirin", "colchicine"])])
    said.reply, said.probabilities, said.read              # what was answered, and the passages as they were read
    for step in system.write([Asked("Which drug ...?")]): ...   # (question, text so far), as it is written

A question given with passages is answered from these, without a search: one of the run's may be left out, or its text changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jmlr.corpus.prompt import LETTERS, Prompter
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.inference.answering import by_generation, by_likelihood, ending, from_endpoint
from jmlr.serving.finder import Finder, open_finder
from jmlr.serving.row import Row, search_of

FORWARD_TOKENS = 8192  # most tokens computed at once where losses of passages are shown


@dataclass(frozen=True)
class Passage:
    """A passage that may be read: of the run's, or as somebody changed it."""

    id: str
    title: str
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Read:
    """A passage as it was read, and whether the model had room for less than all of it."""

    id: str
    score: float | None
    text: str
    cut: bool


@dataclass(frozen=True)
class Asked:
    """A question.

    Attributes:
        question: its text
        options: to choose from; none: the answer is written
        passages: to answer from, best first; None: those that the row's search finds
        count: how many are searched for; 0: as many as in training
        most_tokens: of a written answer; 0: as the row has it
    """

    question: str
    options: Sequence[str] = ()
    passages: Sequence[Passage] | None = None
    count: int = 0
    most_tokens: int = 0


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        reply: in words
        predicted: the option; -1: none was given, or none could be parsed
        probabilities: of the options; empty where the answer was written
        read: the passages as they were read, best first
        found: how many there were, of which those that had no room were not read
        far: what to say where the question is far from the corpus
        cut: what to say where less than all of the question was read
        tokens: of the prompt and of the reply; 0 where a server read it
        ended: False: there was no room for more
    """

    reply: str
    predicted: int = -1
    probabilities: Sequence[float] = ()
    read: Sequence[Read] = ()
    found: int = 0
    far: str = ""
    cut: str = ""
    tokens: tuple[int, int] = (0, 0)
    ended: bool = True


@dataclass
class System:
    """A row whose models are loaded; not for several threads at a time."""

    row: Row
    model: Any = None
    tokenizer: Any = None
    prompter: Any = None
    passages: StoredPassages | None = None
    finders: dict[str, Finder] = field(default_factory=dict)

    @classmethod
    def open(cls, row: Row, where: Any = None) -> System:
        """Load a row's language model and retriever, and open its index and passages; raise UserError where they are not there.

        where: device of the language model; None: the CPU.
        """
        system = cls(row)
        for name in row.searches[-1:] if row.passages else ():
            system.finder(name)
        if row.searches:
            system.passages = StoredPassages.open(row.run / "prepare")
        if not row.endpoint:
            from jmlr.models.llm import load_to_answer

            reading, chat = row.reading, row.answer.model_dump(include={"chat", "chat_template_kwargs"})
            system.model, system.tokenizer = load_to_answer(
                row.llm, row.adapter, precision=reading.llm_precision, tokens=reading.llm_tokens, where=where
            )
            system.prompter = Prompter(system.tokenizer, **reading.model_dump(exclude={"llm_precision"}), **chat)
        return system

    def finder(self, search: str) -> Finder:
        """Return one of the row's searches, opened at its first use."""
        if search not in self.finders:
            self.finders[search] = open_finder(self.row.run, search_of(self.row.run, search))
        return self.finders[search]

    @cached_property
    def client(self) -> Any:
        """The client of the row's server."""
        from jmlr.endpoints.client import Client

        return Client(**(self.row.endpoint or {}))

    # ---------------------------------------------------------------------------------------------------- passages
    def found(self, asked: Sequence[Asked], search: str = "") -> list[list[Passage]]:
        """Return the passages of each question, best first: those that it came with, or what a search finds.

        search: one of the row's; "": that of the retriever that answers.
        """
        row = self.row
        given = [list(a.passages or ()) for a in asked]
        wanted = [i for i, a in enumerate(asked) if a.passages is None and (a.count or row.passages) and row.searches]
        if not wanted:
            return given
        most = max(asked[i].count or row.passages for i in wanted)
        finder = self.finder(search or row.searches[-1])
        hits = finder.find([(asked[i].question, asked[i].options) for i in wanted], most)
        assert self.passages is not None
        for i, hit in zip(wanted, hits, strict=True):
            hit = hit[: asked[i].count or row.passages]
            held = self.passages.take([number for number, _ in hit], ("id", "title", "text"))
            given[i] = [
                Passage(id, title, text, score) for (id, title, text), (_, score) in zip(held, hit, strict=True)
            ]
        return given

    def far(self, asked: Asked, found: Sequence[Passage], search: str = "") -> str:
        """Say so where a question is far from the corpus, by the search that found its passages."""
        if asked.passages is not None or not found or found[0].score is None:
            return ""
        return self.finder(search or self.row.searches[-1]).far(found[0].score)

    def cut(self, asked: Asked, search: str = "", *, answered: bool = True) -> str:
        """Say so where a question is longer than what the search or, if it is answered, the language model reads of it."""
        parts = []
        if asked.passages is None and self.row.searches and (asked.count or self.row.passages):
            finder = self.finder(search or self.row.searches[-1])
            if most := finder.read_of(asked.question, asked.options):
                parts.append(f"the search reads its first {most} tokens")
        if answered and self.prompter is not None:
            before, prompter = self.prompter.cut["questions"], self.prompter
            room = prompter.llm_tokens - len(prompter.before) - len(prompter.after) - self.room(asked)
            if len(self.question_tokens(asked)) > room or prompter.cut["questions"] > before:
                parts.append(f"the language model its last {min(prompter.llm_question_tokens, room)}")
        return f"a long question: {', '.join(parts)}" if parts else ""

    def tokens_of(self, found: Sequence[Passage]) -> list[list[int]]:
        """Return the tokens that the model reads of some passages, numbered where it is to cite them."""
        pairs = [(p.title, p.text) for p in found]
        return self.prompter.passages(pairs, numbered=self.row.answer.rationale) if pairs else []

    def _read(self, found: Sequence[Passage], tokens: Sequence[Sequence[int]], kept: int) -> list[Read]:
        """Return the passages that were read, as they were read."""
        most, decode = self.row.reading.llm_passage_tokens, self.tokenizer.decode
        return [
            Read(p.id, p.score, decode(ids), len(ids) == most)
            for p, ids in zip(found[:kept], tokens[:kept], strict=True)
        ]

    # ----------------------------------------------------------------------------------------------------- answers
    def answer(self, asked: Sequence[Asked], search: str = "") -> list[Said]:
        """Answer many questions together: by likelihood, in writing, or by the row's server, as the row answers.

        search: as of `found`.
        """
        found = self.found(asked, search)
        if self.row.endpoint:
            return self._by_server(asked, found, search)
        said: list[Said | None] = [None] * len(asked)
        chosen = [i for i, a in enumerate(asked) if a.options]
        for i, answer in zip(chosen, self._chosen([asked[i] for i in chosen], [found[i] for i in chosen]), strict=True):
            said[i] = answer
        open_ended = [i for i, a in enumerate(asked) if not a.options]
        for n, answer in self.write([replace(asked[i], passages=found[i]) for i in open_ended], whole=True):
            said[open_ended[n]] = answer
        return [
            replace(s, far=self.far(a, f, search), cut=self.cut(a, search))
            for a, f, s in zip(asked, found, said, strict=True)
            if s is not None
        ]

    def _chosen(self, asked: Sequence[Asked], found: Sequence[Sequence[Passage]]) -> list[Said]:
        """Answer questions that have options."""
        if not asked:
            return []
        settings = self.row.answer.model_dump()
        records = [{"question": a.question, "options": list(a.options)} for a in asked]
        tokens = [self.tokens_of(f) for f in found]
        if self.row.answer.method == "likelihood":
            answers = by_likelihood(self.model, self.prompter, records, tokens, settings, _nothing)
        else:
            answers = by_generation(self.model, self.tokenizer, self.prompter, records, tokens, settings, _nothing)
        made = []
        for a, f, t, answer in zip(asked, found, tokens, answers, strict=True):
            shares = answer.row()["probabilities"]
            reply = f"{LETTERS[answer.predicted]}. {a.options[answer.predicted]}" if shares else answer.reply
            sizes = (sum(map(len, t[: answer.read])) + len(self.question_tokens(a)), len(self._ids(reply)))
            read = self._read(f, t, answer.read)
            made.append(Said(reply, answer.predicted, shares, read, len(f), tokens=sizes))
        return made

    def _by_server(self, asked: Sequence[Asked], found: Sequence[Sequence[Passage]], search: str) -> list[Said]:
        """Answer behind a server, which reads the passages uncut."""
        records = [{"question": a.question, "options": list(a.options)} for a in asked]
        texts = [[(p.title, p.text) for p in f] for f in found]
        settings = self.row.answer.model_dump()
        answers = from_endpoint(self.client, self.row.reading.model_dump(), records, texts, settings, _nothing)
        return [
            Said(
                b.reply,
                b.predicted,
                (),
                [Read(p.id, p.score, p.text, False) for p in f],
                len(f),
                self.far(a, f, search),
                self.cut(a, search),
            )
            for a, f, b in zip(asked, found, answers, strict=True)
        ]

    # ----------------------------------------------------------------------------------------------------- writing
    def question_tokens(self, asked: Asked) -> list[int]:
        """Return the tokens of a question with the words before its answer, as the row asks it."""
        chosen = asked.options and self.row.answer.method == "generate"
        last_words = ending(self.row.answer.model_dump())[0] if chosen else None
        return self.prompter.question(asked.question, asked.options, last_words)

    def room(self, asked: Asked) -> int:
        """Return how many tokens the prompt leaves for an answer in writing, as in the run."""
        chosen = asked.options and self.row.answer.method == "generate"
        return ending(self.row.answer.model_dump())[1] if chosen else int(self.prompter.llm_answer_tokens)

    def write(
        self, asked: Sequence[Asked], live: Callable[[int], bool] = lambda _: True, *, whole: bool = False
    ) -> Iterator[tuple[int, Said]]:
        """Yield (number of the question, its answer so far) after each step of writing, greedily; at last each one whole.

        Args:
            asked: which have their passages.
            live: whether a question's answer is still waited for.
            whole: yield nothing before the end.
        """
        from jmlr.serving.writing import steps

        if not asked:
            return
        tokens = [self.tokens_of(a.passages or ()) for a in asked]
        questions, rooms = [self.question_tokens(a) for a in asked], [self.room(a) for a in asked]
        orders = [t[::-1] for t in tokens]
        prompts = [self.prompter.prompt(q, o, r) for q, o, r in zip(questions, orders, rooms, strict=True)]
        kept = [self.prompter.fitting(q, o, r) for q, o, r in zip(questions, orders, rooms, strict=True)]
        read = [self._read(a.passages or (), t, k) for a, t, k in zip(asked, tokens, kept, strict=True)]
        # A longer answer than the row's takes what is left of the context, and no passage's place.
        left = [self.row.reading.llm_tokens - len(p) for p in prompts]
        most = [min(a.most_tokens or r, n) for a, r, n in zip(asked, rooms, left, strict=True)]

        def said(i: int, ids: Sequence[int]) -> Said:
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            sizes = (len(prompts[i]), len(ids))
            return Said(text, read=read[i], found=len(tokens[i]), tokens=sizes)

        ids: list[list[int]] = [[] for _ in asked]
        for written in steps(self.model, self.tokenizer, prompts, most, live):
            for i, token in written:
                ids[i].append(token)
                if not whole:
                    yield i, said(i, ids[i])
        for i in range(len(asked)):
            last = said(i, ids[i])
            yield i, replace(last, reply=last.reply.strip(), ended=len(ids[i]) < most[i])

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # ------------------------------------------------------------------------------------------------------ losses
    def losses(self, asked: Asked, found: Sequence[Passage], answer: str) -> list[float]:
        """Return the loss of an answer without a passage and under each one alone, in nats per token: what the retriever learns from.

        answer: the text of an option, or words of its own (docs/llm_rank.md, step 5).
        """
        import torch

        from jmlr.models.forward import answer_losses
        from jmlr.models.parts import computed_in_parts

        prompter, options = self.prompter, list(asked.options)
        index = options.index(answer) if answer in options else -1
        ids = prompter.answer(index, options, answer)
        question, room = prompter.question(asked.question, options), prompter.llm_answer_tokens
        read = prompter.passages([(p.title, p.text) for p in found]) if found else []
        prompts = [prompter.prompt(question, passages, room) for passages in ([], *([r] for r in read))]
        with torch.inference_mode():
            values = computed_in_parts(
                lambda part: answer_losses(self.model, [prompts[i] for i in part], [ids for _ in part]),
                [len(p) + len(ids) for p in prompts],
                FORWARD_TOKENS,
                next(self.model.parameters()).device,
            )
        return [float(v) for v in values]


def _nothing(_: int) -> None:
    pass
