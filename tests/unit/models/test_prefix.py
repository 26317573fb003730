"""Reading a prompt once changes no score and no word."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from jmlr.corpus.prompt import Prompter
from jmlr.inference.likelihood import score_options, score_options_plainly
from jmlr.models.llm import add_adapter, load_llm
from jmlr.models.prefix import by_length, option_losses, pad_left, write
from jmlr.runtime.errors import UserError
from toys import toy_reading

PROMPTS = [[2, 7, 8, 9], [2, 5], [2, 11, 12, 13, 14, 15, 16], [2]]
OPTIONS = [[[30, 3], [31, 32, 33, 3]], [[3]], [[33, 3], [34, 3], [35, 36, 3]], [[40, 41, 3], [42, 3]]]


def trained_llm(tiny):
    """Return the tiny LLM with an adapter that does something, and its tokenizer."""
    llm, tokenizer = load_llm(str(tiny / "llm"))
    torch.manual_seed(0)
    adapted = add_adapter(llm, rank=4, alpha=8, dropout=0.1, targets=["all-linear"], modules=[])
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return adapted.eval(), tokenizer


def test_left_padding_ends_all_rows_in_one_column_and_counts_from_the_first_token():
    ids, mask, positions = pad_left([[5, 6, 7], [8]], torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_shared_prompts_give_the_losses_of_whole_sequences_one_by_one(tiny):
    llm, _ = trained_llm(tiny)
    for prompt, options, found in zip(PROMPTS, OPTIONS, option_losses(llm, PROMPTS, OPTIONS), strict=True):
        assert [count for _, count in found] == [len(o) for o in options]
        for option, (total, _) in zip(options, found, strict=True):
            logits = llm(input_ids=torch.tensor([prompt + option])).logits[0, len(prompt) - 1 : -1]
            assert total == pytest.approx(
                F.cross_entropy(logits, torch.tensor(option), reduction="sum").item(), abs=1e-4
            )


def test_a_question_without_options_has_no_losses(tiny):
    llm, _ = trained_llm(tiny)
    assert option_losses(llm, PROMPTS[:2], [[], []]) == [[], []]
    assert [len(found) for found in option_losses(llm, PROMPTS[:2], [[], [[30, 3]]])] == [0, 1]


@pytest.mark.parametrize("mean", [False, True])
def test_scores_equal_the_plain_way_whatever_the_batch(tiny, mean):
    llm, tokenizer = trained_llm(tiny)
    prompter = Prompter(tokenizer, **toy_reading().model_dump(exclude={"llm_precision"}))
    words = ["fever", "cough", "woman", "man", "clinic", "drug"]
    records = [{"question": " ".join(words[: 1 + i % 6]), "options": words[: 2 + i % 4]} for i in range(11)]
    passages = [[prompter.passage("", " ".join(words[j:])) for j in range(i % 4)] for i in range(11)]
    plain = score_options_plainly(llm, prompter, records, passages, room=16, mean=mean)
    for batch in (1, 3, 32):
        counted: list[int] = []
        fast = score_options(llm, prompter, records, passages, room=16, mean=mean, batch=batch, done=counted.append)
        assert sum(counted) == 11
        for a, b in zip(fast, plain, strict=True):
            assert a == pytest.approx(b, abs=2e-4)
            assert b[a.index(max(a))] == pytest.approx(max(b), abs=2e-4)  # two options may score alike


def test_writing_in_a_batch_gives_the_words_of_writing_step_by_step(tiny):
    llm, tokenizer = trained_llm(tiny)
    expected = []
    for prompt in PROMPTS:
        row = list(prompt)
        for _ in range(6):
            row.append(int(llm(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
            if row[-1] == tokenizer.eos_token_id:
                break
        expected.append(tokenizer.decode(row[len(prompt) :], skip_special_tokens=True).strip())
    assert write(llm, tokenizer, PROMPTS, 6) == expected
    assert any(expected)


def test_a_models_own_sampling_settings_do_not_apply(tiny):
    llm, tokenizer = trained_llm(tiny)
    before = write(llm, tokenizer, PROMPTS, 6)
    own = llm.get_base_model().generation_config
    own.do_sample, own.temperature, own.repetition_penalty, own.no_repeat_ngram_size = True, 5.0, 3.0, 1
    assert write(llm, tokenizer, PROMPTS, 6) == before


def test_the_tokens_that_end_a_turn_end_the_reply(tiny):
    llm, tokenizer = trained_llm(tiny)
    own = llm.get_base_model().generation_config
    own.eos_token_id = [tokenizer.eos_token_id, *range(4, 30)]
    texts = write(llm, tokenizer, PROMPTS, 20)
    own.eos_token_id = tokenizer.eos_token_id
    assert all(len(a) <= len(b) for a, b in zip(texts, write(llm, tokenizer, PROMPTS, 20), strict=True))


def test_batches_are_of_like_length_and_the_longest_comes_first():
    assert by_length([[1], [1, 2, 3], [1, 2], [1, 2, 3, 4]], 2) == [[3, 1], [2, 0]]


CHAT = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"


def test_the_chat_template_stands_around_the_prompt(tiny):
    _, tokenizer = load_llm(str(tiny / "llm"))
    with pytest.raises(UserError, match="no chat template"):
        Prompter(tokenizer, **toy_reading().model_dump(exclude={"llm_precision"}), chat=True)
    plain = Prompter(tokenizer, **toy_reading().model_dump(exclude={"llm_precision"}))
    tokenizer.chat_template = CHAT
    framed = Prompter(tokenizer, **toy_reading().model_dump(exclude={"llm_precision"}), chat=True)
    question = framed.question("fever", ["a", "b"])
    assert framed.prompt(question) == framed.before + question + framed.after
    assert framed.before[0] == tokenizer.bos_token_id
    assert framed.after[0] == tokenizer.eos_token_id
    assert plain.prompt(question) == [tokenizer.bos_token_id, *question]


def test_passages_that_do_not_fit_are_counted_the_same_way_as_they_are_dropped(tiny):
    _, tokenizer = load_llm(str(tiny / "llm"))
    prompter = Prompter(tokenizer, **toy_reading(llm_tokens=40).model_dump(exclude={"llm_precision"}))
    question, passages = [5] * 10, [[6] * 9, [7] * 8, [8] * 7]
    for room in (1, 10, 16, 24):
        kept = prompter.fitting(question, passages, room)
        assert prompter.prompt(question, passages, room) == [tokenizer.bos_token_id, *(t for p in passages[3 - kept :] for t in p), *question]  # fmt: skip
    assert prompter.fitting(question, passages, 1) == 3
    assert prompter.fitting(question, passages, 24) == 0
    with pytest.raises(UserError, match="llm_tokens: 40 leaves no room for a question beside 39 tokens"):
        prompter.prompt(question, passages, 39)
