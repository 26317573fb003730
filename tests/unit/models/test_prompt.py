"""The tokens of a prompt and its answer are those of the joined text, whatever the tokenizer; chat templates; thinking."""

from __future__ import annotations

import pytest
from tiny_tokenizers import FORMS, tokenizer_of

from jmlr.corpus.prompt import Prompter, chat_frame, continued, frame
from jmlr.corpus.replies import without_thinking
from jmlr.inference.answering import replies, understood
from jmlr.runtime.errors import UserError
from toys import toy_reading

OPTIONS = ["warfarin", "aspirin"]
SHOWN = {"question_prompt": "Question: {question}\n{options}\n"}
LLAMA = "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
TEKKEN = "{{ bos_token }}{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}"
CHATML = "{% for m in messages %}<|user|>\n{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
PARTS = "{% for m in messages %}<|user|>{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}</s>{% endfor %}<|assistant|>"
SENTENCEPIECE = [
    form for form in FORMS if form.startswith(("llama-2", "llama, ", "metaspace", "unigram"))
]  # LLAMA's blank is theirs
SWITCH = "{% if enable_thinking is defined and enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"
THINKING = CHATML.replace("<|assistant|>\n", "<|assistant|>\n" + SWITCH)


def prompter(tokenizer, **given) -> Prompter:
    chat = {k: given.pop(k) for k in ("chat", "chat_template_kwargs") if k in given}
    return Prompter(tokenizer, **toy_reading(**given).model_dump(exclude={"llm_precision"}), **chat)


def joined(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def words(tokenizer, ids) -> list[str]:
    return tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer_form", ["text", "letter", "letter_text"])
@pytest.mark.parametrize("end", ["Answer:", "Answer: ", "Answer:\n"])
def test_prompt_and_answer_have_the_tokens_of_the_joined_text(form, answer_form, end):
    tokenizer = tokenizer_of(form)
    made = prompter(tokenizer, **SHOWN, answer_form=answer_form, answer_prompt=end)
    given = {"text": "aspirin", "letter": "B", "letter_text": "B. aspirin"}[answer_form]
    text = (
        f"Question: which drug?\nA. warfarin\nB. aspirin\n{end.rstrip(' ')}{'' if end[-1] == chr(10) else ' '}{given}"
    )
    found = made.prompt(made.question("which drug?", OPTIONS)) + made.answer(1, OPTIONS)
    expected = [tokenizer.bos_token_id, *joined(tokenizer, text), tokenizer.eos_token_id]
    assert words(tokenizer, found) == words(tokenizer, expected)


def test_a_letter_is_one_token_behind_the_last_words_of_mistral_s_form():
    tokenizer = tokenizer_of("llama-2, mistral (prepend)")
    assert words(tokenizer, joined(tokenizer, " B")) == ["▁▁", "B"] or words(tokenizer, joined(tokenizer, " B")) == [
        "▁",
        "▁B",
    ]
    made = prompter(tokenizer, **SHOWN, answer_form="letter")
    assert words(tokenizer, made.answer(1, OPTIONS)) == ["▁B", "</s>"]


@pytest.mark.parametrize(
    ("form", "template"), [(f, t) for f in FORMS for t in (LLAMA, TEKKEN, CHATML) if t != LLAMA or f in SENTENCEPIECE]
)
def test_a_chat_s_prompt_and_answer_have_the_tokens_of_the_joined_text(form, template):
    tokenizer = tokenizer_of(form, template)
    made = prompter(tokenizer, **SHOWN, answer_form="letter", chat=True)
    turn = [{"role": "user", "content": "Question: which drug?\nA. warfarin\nB. aspirin\nAnswer:"}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) + "B"
    found = made.prompt(made.question("which drug?", OPTIONS)) + made.answer(1, OPTIONS)
    assert words(tokenizer, found) == words(tokenizer, [*joined(tokenizer, text), tokenizer.eos_token_id])


@pytest.mark.parametrize("form", FORMS)
def test_a_numbered_passage_has_the_tokens_of_number_and_passage_together(form):
    tokenizer = tokenizer_of(form)
    made = prompter(tokenizer)
    pairs = [("", "aspirin lowers fever."), ("", "heparin")]
    expected = [joined(tokenizer, f"[P{n}] Reference: {text}\n") for n, (_, text) in enumerate(pairs, 1)]
    assert made.passages(pairs, numbered=True) == expected
    assert made.passages([]) == []


def test_where_a_token_spans_the_border_the_answer_keeps_its_own():
    tokenizer = tokenizer_of("gpt-2")
    assert continued(tokenizer, "Ans", "wer") == joined(tokenizer, "wer")


def test_a_template_that_wants_its_message_in_parts_gets_it_in_parts():
    tokenizer = tokenizer_of("llama-3, qwen", PARTS)
    assert chat_frame(tokenizer, {}) == ("<|user|>", "</s><|assistant|>")


def test_thinking_is_switched_by_an_argument_of_the_template():
    tokenizer = tokenizer_of("llama-3, qwen", THINKING)
    assert chat_frame(tokenizer, {"enable_thinking": False})[1].endswith("<think>\n\n</think>\n\n")
    off, on, plain = (
        frame(tokenizer, c, {"enable_thinking": t}) for c, t in ((True, False), (True, True), (False, True))
    )
    assert (off.opening, on.opening, plain.opening) == ("", "<think>", "")
    assert off.after != on.after


@pytest.mark.parametrize(
    ("template", "arguments", "said"),
    [
        ("", {}, "no chat template; say false"),
        ("{{ raise_exception('a system message\nis needed') }}", {}, "cannot be used for one message of the user: TemplateError: a system message is needed"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", {}, "it leaves the message out"),
        ("{{ messages[0].content }}{{ messages[0].content }}", {}, "or says it twice"),
        ("{{ messages[0].content }", {}, "TemplateSyntaxError"),
        (CHATML, {"enable_thinkin": False}, "'enable_thinkin' does not occur in the model's chat template"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_one_line(template, arguments, said):
    tokenizer = tokenizer_of("llama-3, qwen", template)
    with pytest.raises(UserError, match=said) as error:
        frame(tokenizer, True, arguments)
    assert "\n" not in str(error.value)


def test_what_stands_behind_the_thinking_is_the_answer():
    settings = {"rationale": False}
    for reply in ("<think>A? B? I say A.</think>\n\nB", "A, I think.</think>B. aspirin", "B"):
        given = understood(reply, OPTIONS, 0, settings)
        assert (given.predicted, given.reply) == (1, reply)
    assert understood("<think>A", OPTIONS, 0, settings).predicted == -1  # cut off: no answer
    assert understood("</think> <think>B", OPTIONS, 0, settings).predicted == -1
    thought = understood(
        "<think>[P2] says A.\nAnswer: A</think>[P1] says so.\nAnswer: B", OPTIONS, 2, {"rationale": True}
    )
    assert (thought.predicted, thought.rationale, thought.citations) == (1, "[P1] says so.", (1,))
    assert without_thinking("x < y") == "x < y"


def test_a_turn_that_begins_with_thinking_says_so_in_the_reply(monkeypatch):
    tokenizer = tokenizer_of("llama-3, qwen", THINKING)
    monkeypatch.setattr("jmlr.inference.answering.write", lambda *_: ["B, says the user"])
    llm = type("L", (), {"config": type("C", (), {"get_text_config": lambda self, decoder: self})()})
    said = replies(llm, tokenizer, ["which?"], 8, 4, True, lambda _: None, {"enable_thinking": True})
    assert said == ["<think>B, says the user"]
    assert without_thinking(said[0]) == ""
