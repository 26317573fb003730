"""A row that is opened once answers many questions together as it answers each alone, and as the stages do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from jmlr.inference.passage_losses import passage_losses
from jmlr.inference.questions import Passages, read_questions
from jmlr.models.prefix import write
from jmlr.runtime.errors import UserError
from jmlr.serving.row import private_sources, row_of
from jmlr.serving.scoring import Prompt, scored
from jmlr.serving.system import Asked, System
from jmlr.serving.writing import steps

QUESTION = "You review a woman known for a disease. Which finding is expected?"


def records(run: Path) -> list[dict]:
    table = pq.read_table(run / "prepare/questions.parquet").to_pylist()
    return [q for q in table if q["split"] == "test"]


def test_questions_answered_together_are_answered_as_in_the_run(served_run: Path, system: System) -> None:
    stored = {r["question_id"]: r for r in pq.read_table(served_run / "jmlr/seed0/answer/answers.parquet").to_pylist()}
    asked = records(served_run)
    said = system.answer([Asked(q["question"], q["options"]) for q in asked])
    assert len(said) == len(asked) >= 8
    for q, s in zip(asked, said, strict=True):
        assert [p.id for p in s.read] == stored[q["id"]]["ids"]
        assert s.predicted == stored[q["id"]]["predicted"]
        assert s.probabilities == pytest.approx(stored[q["id"]]["probabilities"], abs=1e-4)


def test_a_batch_of_both_kinds_keeps_the_order(system: System) -> None:
    mixed = [
        Asked(QUESTION),
        Asked(QUESTION, ["fever", "rash"]),
        Asked("What drug helps?"),
        Asked(QUESTION, ["a", "b", "c"]),
    ]
    said = system.answer(mixed)
    assert [len(s.probabilities) for s in said] == [0, 2, 0, 3]
    alone = [system.answer([a])[0] for a in mixed]
    assert [s.reply for s in said] == [s.reply for s in alone]


def test_steps_write_what_the_plain_way_writes(system: System) -> None:
    prompts = [system.prompter.prompt(system.prompter.question(text, [])) for text in (QUESTION, "Why?", QUESTION * 2)]
    written: list[list[int]] = [[] for _ in prompts]
    for tokens in steps(system.model, system.tokenizer, prompts, [12, 12, 12]):
        for i, token in tokens:
            written[i].append(token)
    said = [system.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]
    assert said == write(system.model, system.tokenizer, prompts, 12)
    assert any(said)


def test_writing_stops_for_whom_nobody_waits(system: System) -> None:
    prompts = [system.prompter.prompt(system.prompter.question(QUESTION, []))] * 2
    counts = [0, 0]
    for tokens in steps(system.model, system.tokenizer, prompts, [8, 8], live=lambda i: i == 1):
        for i, _ in tokens:
            counts[i] += 1
    assert counts[0] <= 1 <= counts[1]


def test_the_loss_under_a_passage_is_the_one_that_trained_the_retriever(served_run: Path, system: System) -> None:
    prompter = system.prompter
    assert system.passages is not None
    [first, *_] = read_questions(
        served_run / "prepare", served_run / "jmlr/seed0/r1/search", prompter, None, split="test", query_options=False, retriever_query_tokens=0
    )  # fmt: skip
    held = Passages(system.passages, prompter, None, 0)
    settings = {"answer_tokens": prompter.llm_answer_tokens, "forward_tokens": 4096, "precision": "float32"}
    wanted = passage_losses(system.model, held, [first], torch.arange(3)[None], **settings)[0].tolist()
    asked = next(
        q
        for q in records(served_run)
        if q["answer_text"] == first.answer_text or q["options"][q["answer"]] == first.answer_text
    )
    passages = system.found([Asked(asked["question"], asked["options"], count=3)], "jmlr/seed0/r1/search")[0]
    without, *under = system.losses(Asked(asked["question"], asked["options"]), passages, first.answer_text)
    assert under == pytest.approx(wanted, abs=1e-4)
    assert without > 0


def test_a_dropped_passage_is_not_read_and_an_edited_one_is_read_as_edited(system: System, asked: dict) -> None:
    question = Asked(asked["question"], asked["options"])
    [found] = system.found([question])
    [whole] = system.answer([question])
    [dropped] = system.answer([replace(question, passages=found[1:])])
    assert [p.id for p in dropped.read] == [p.id for p in whole.read][1:]
    edited = [replace(found[0], text=asked["options"][1]), *found[1:]]
    [changed] = system.answer([replace(question, passages=edited)])
    assert asked["options"][1] in changed.read[0].text
    assert changed.probabilities != whole.probabilities
    [none] = system.answer([replace(question, passages=[])])
    assert none.read == []


def test_scores_of_a_prompt_are_those_of_the_option_behind_the_same_passages(system: System, asked: dict) -> None:
    head = system.row.reading.question_prompt.format(question=asked["question"], options="") + "Answer:"
    told = scored(system, [Prompt(f"{head} {o}", top=1, more=1) for o in asked["options"]])
    passages = system.found([Asked(asked["question"])])[0]
    before = [*system.prompter.before, *(i for ids in system.tokens_of(passages)[::-1] for i in ids)]
    for option, t in zip(asked["options"], told, strict=True):
        own = system.tokenizer(f"{head} {option}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logprobs = system.model(input_ids=torch.tensor([before + own])).logits[0].log_softmax(-1)
        wanted = [float(logprobs[len(before) + n - 1, token]) for n, token in enumerate(own)][1:]
        assert t.logprobs[0] is None
        assert t.logprobs[1:-1] == pytest.approx(wanted, abs=1e-4)
        assert len(t.tokens) == len(t.top) == len(own) + 1 == t.count + 1
        assert all(max(best.values()) >= p - 1e-6 for best, p in zip(t.top[1:], t.logprobs[1:], strict=True))


def test_a_prompt_that_begins_with_a_beginning_of_text_is_told_with_it(system: System, asked: dict) -> None:
    """A program counts its own tokens: one more in front moves all others by one, and changes none."""
    ids = system.tokenizer(f"Question: {asked['question']}\nAnswer: x", add_special_tokens=False)["input_ids"]
    bare, begun = scored(system, [Prompt(ids, more=1), Prompt([system.tokenizer.bos_token_id, *ids], more=1)])
    assert begun.count == bare.count + 1
    assert begun.logprobs[0] is None
    assert begun.logprobs[2:] == pytest.approx(bare.logprobs[1:], abs=1e-4)
    assert begun.tokens[1:] == bare.tokens


def test_a_prompt_that_is_too_long_is_refused_and_none_of_its_tokens_is_lost(system: System) -> None:
    with pytest.raises(UserError, match="this row reads"):
        scored(system, [Prompt("word " * 2000)])
    with pytest.raises(UserError, match="allowed: at least one token"):
        scored(system, [Prompt([10_000_000])])


def test_a_question_of_which_less_than_all_is_read_says_so(system: System, asked: dict) -> None:
    short = Asked(asked["question"], asked["options"])
    long = replace(short, question=" ".join([asked["question"]] * 40))
    whole, cut = system.answer([short, long])
    assert whole.cut == ""
    search, llm = system.finder(system.row.searches[-1]).retriever.limit("query"), system.prompter.llm_question_tokens
    assert cut.cut == f"a long question: the search reads its first {search} tokens, the language model its last {llm}"
    whole = replace(system.prompter, llm_question_tokens=100_000)  # then the window of all is what cuts it
    assert whole.llm_question_tokens > whole.llm_tokens
    room = whole.llm_tokens - len(whole.before) - len(whole.after) - whole.llm_answer_tokens
    assert replace(system, prompter=whole).cut(long).endswith(f"the language model its last {room}")
    assert replace(system, prompter=whole).cut(short) == ""
    assert system.cut(long, answered=False) == f"a long question: the search reads its first {search} tokens"


def test_a_run_says_whether_a_source_is_private(served_run: Path, tmp_path: Path) -> None:
    assert private_sources(served_run) == []
    assert private_sources(tmp_path) == ["prepare"], "what does not say counts as private"


def test_a_row_has_a_search_for_each_round_up_to_the_one_that_answers(served_run: Path) -> None:
    row = row_of(served_run, "jmlr", 0)
    assert list(row.rounds[:1]) == ["retriever/seed0/r0/search"]
    assert list(row.searches) == [row.rounds[0], *row.rounds[1:][-1:]]
    assert list(row_of(served_run, "closed", 0).rounds) == []
