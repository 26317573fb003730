"""A prompt that cannot be filled in is refused with the configuration, not after hours."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jmlr.config import Config, ConfigError
from jmlr.options import AnswerOptions, ReadingOptions

BOTH = "Question: {question}\n{options}\n"


@pytest.mark.parametrize(
    ("key", "prompt", "said"),
    [
        ("passage_prompt", "Reference: {passge}", r"'\{passge\}' is no field; allowed: \{passage\}, \{title\}"),
        ("passage_prompt", "{'a': 1} {passage}", "is no field"),
        ("passage_prompt", "Reference: {}", r"'\{\}' is no field"),
        ("passage_prompt", "{passage", "expected '}' before end of string"),
        ("passage_prompt", "{passage} }", "Single '}' encountered"),
        ("passage_prompt", "{passage:>9}", r"'\{passage:>9\}' is no field"),
        ("passage_prompt", "{passage!r}", r"'\{passage!r\}' is no field"),
        ("passage_prompt", "{passage.x}", r"'\{passage.x\}' is no field"),
        ("passage_prompt", "{title}", "it leaves out the passage"),
        ("passage_prompt", "{passage} {question}", r"'\{question\}' is no field"),
        ("question_prompt", "Question:", "it leaves out the question"),
        ("question_prompt", "{options}", "it leaves out the question"),
        ("question_prompt", "{question} {option}", r"'\{option\}' is no field"),
        ("answer_prompt", "{options}\nAnswer:", r"'\{options\}' is not filled in here"),
    ],
)
@pytest.mark.parametrize("place", ["the run's", "a system's"])
def test_a_prompt_that_cannot_be_filled_in_is_refused_with_its_key(key, prompt, said, place):
    reading = {"reading": {key: prompt}}
    data = reading if place == "the run's" else {"systems": {"a": {"title": "A", **reading}}}
    with pytest.raises(ConfigError, match=said) as error:
        Config.load(data)
    where = f"reading.{key}: " if place == "the run's" else f"systems.a.reading: {key}: "
    assert str(error.value).startswith(f"config: {where}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["generation_prompt", "rationale_prompt"])
def test_last_words_that_would_not_be_filled_in_are_refused(key):
    with pytest.raises(ConfigError, match=rf"answer\.{key}: .*'\{{options\}}' is not filled in here"):
        Config.load({"answer": {key: "Choose from {options}:"}})


def test_braces_of_the_text_itself_are_written_twice_and_other_words_may_have_theirs():
    reading = ReadingOptions(passage_prompt="{{{passage}}}", answer_prompt="{x} Answer:")
    assert reading.passage_prompt.format(passage="a {b}", title="") == "{a {b}}"


@pytest.mark.parametrize("form", ["letter", "letter_text"])
def test_letters_without_the_options_are_refused(form):
    with pytest.raises(ValidationError, match="a letter says nothing unless the options are shown"):
        ReadingOptions(answer_form=form, question_prompt="{question}")
    with pytest.raises(ValidationError, match="a letter says nothing unless the options are shown"):
        ReadingOptions(answer_form=form, question_prompt="{question} {{options}}")
    assert ReadingOptions(answer_form=form, question_prompt=BOTH).answer_form == form


def test_an_untrained_model_that_writes_must_see_the_options_themselves():
    system = {"title": "A", "rounds": 0, "answer": {"method": "generate"}, "train": {"passages": 0}}
    with pytest.raises(ConfigError, match="must see the options"):
        Config.load({"systems": {"a": {**system, "reading": {"question_prompt": "{question} {{options}}"}}}})
    Config.load({"systems": {"a": {**system, "reading": {"question_prompt": BOTH}}}})


def test_arguments_of_a_template_without_a_template_are_refused():
    with pytest.raises(ValidationError, match="there is no chat template without chat: true"):
        AnswerOptions(chat_template_kwargs={"enable_thinking": False})


def test_practice_documents_are_written_in_the_prompts_that_are_read_later():
    """A judge that practises on other prompts than it is asked with learns to read something else."""
    run = Config.load({"reading": {"passage_prompt": "Source: {passage}\n"}})
    assert [p.passage_prompt for p in run.practice_prompts("world")] == ["Source: {passage}\n"]
    assert run.practice_prompts() == []  # the demo's documents come from its source; `prepare` makes none
    read = {k: [{"source": "world", "file": f"{k}.jsonl"}] for k in ("corpora", "questions")}
    cloze = {**read, "documents": [{"cloze": 5}]}
    run = Config.load({"reading": {"answer_prompt": "Reply:"}, "prepare": cloze})
    assert [p.answer_prompt for p in run.practice_prompts()] == ["Reply:"]
    run = Config.load({"sources": {"world": {"path": "x"}}, "prepare": cloze})
    assert run.practice_prompts("world") == []  # another prompt fetches nothing again
