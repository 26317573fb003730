"""Training on rationales: what is learned, what is judged, and how both stand in the prompt."""

import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jmlr.config import Config, ConfigError
from jmlr.inference.passage_losses import passage_losses
from jmlr.runtime.errors import UserError
from jmlr.together import warned
from jmlr.training.reference import reference_step
from jmlr.training.step import joint_step
from toys import open_session, rewrite, settings_of

LAST = "Question: Answer:"  # words that the tiny tokenizer knows


def with_explanations(world, folder, said):
    """Copy a world, and give its questions, in their order, the explanations that `said` makes of all their records."""
    shutil.copytree(world, folder)
    file = folder / "prepare/questions.parquet"
    table = pq.read_table(file)
    texts = pa.array(said(table.to_pylist()))
    rewrite(file, table.set_column(table.schema.get_field_index("explanation"), "explanation", texts))
    return folder


@pytest.fixture(scope="module")
def explained(tiny, tmp_path_factory):
    """Copy the tiny world, and explain every second question of it."""
    texts = pq.read_table(tiny / "prepare/passages.parquet")["text"].to_pylist()

    def said(records):
        return [texts[i % len(texts)] if i % 2 == 0 else "" for i in range(len(records))]

    return with_explanations(tiny, tmp_path_factory.mktemp("explained") / "tiny", said)


@pytest.fixture(scope="module")
def citing(explained, tmp_path_factory):
    """Copy the explained world, and let its explanations cite their gold passages; one more is cited that is no gold."""

    def said(records):
        return [q["explanation"] and f"{q['explanation'][:-1]} [{q['gold_ids'][0]}] [nobody-sign]." for q in records]

    return with_explanations(explained, tmp_path_factory.mktemp("citing") / "tiny", said)


def session_of(explained, candidates, **changes):
    return open_session(explained, candidates, rationale=True, rationale_prompt=LAST, **changes)


def test_who_has_an_explanation_learns_it_and_then_the_answer_the_others_the_answer_alone(explained, candidates):
    session = session_of(explained, candidates)
    tokenizer = session.passages.prompter.tokenizer
    plain = open_session(explained, candidates).questions
    table = pq.read_table(explained / "prepare/questions.parquet").to_pylist()
    records = [r for r in table if r["split"] == "train"]
    reasoned = [q for q in session.questions if q.reasoning]
    assert 0 < len(reasoned) < len(session.questions)
    for q, before in zip(session.questions, plain, strict=True):
        assert (q.prompt, q.answer) == (before.prompt, before.answer)
        if q.reasoning:
            explanation = records[q.number]["explanation"]
            text = tokenizer.decode(q.reasoning.answer[:-1]).replace(" ", "").lower()
            assert text.startswith(explanation.replace(" ", "").lower())
            assert text.endswith("answer:" + q.answer_text.replace(" ", "").lower())
            assert q.reasoning.answer[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(q.reasoning.prompt).replace(" ", "").lower().endswith(LAST.replace(" ", "").lower())


def test_a_long_explanation_is_cut_and_counted_and_the_answer_stays_whole(explained, candidates):
    whole = session_of(explained, candidates)
    cut = session_of(explained, candidates, rationale_tokens=3)
    counted = [s.passages.prompter.cut["answers"] for s in (whole, cut)]
    assert counted[1] - counted[0] == sum(q.reasoning is not None for q in cut.questions)
    for q, r in zip(whole.questions, cut.questions, strict=True):
        if q.reasoning:
            assert r.reasoning.answer[:3] == q.reasoning.answer[:3]
            assert len(r.reasoning.answer) < len(q.reasoning.answer)
            tail = len(r.reasoning.answer) - 3
            assert r.reasoning.answer[3:] == q.reasoning.answer[-tail:]


@pytest.mark.parametrize("world", ["explained", "citing"])
@pytest.mark.parametrize("order", ["best_last", "best_first", "shuffled"])
def test_the_step_with_rationales_equals_its_twin(world, candidates, order, request):
    session = session_of(request.getfixturevalue(world), candidates, lora_dropout=0.0)
    session.llm.double()
    session.retriever.double()
    settings = settings_of(session, passage_order=order, train_precision="float32")
    found = []
    for step in (joint_step, reference_step):
        result = step(
            session.llm, session.retriever, session.passages, session.questions[:4], settings, 0, 0, rank_due=True
        )
        (result.loss_lm + result.loss_rank).backward()
        gradients = [p.grad.clone() for p in session.llm.parameters() if p.grad is not None]
        session.llm.zero_grad()
        session.retriever.zero_grad()
        found.append((result.loss_lm.item(), result.loss_rank.item(), gradients))
    fast, twin = found
    assert fast[:2] == pytest.approx(twin[:2], rel=1e-9)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(fast[2], twin[2], strict=True))


def test_what_a_passage_is_worth_is_the_loss_of_the_answer_alone(explained, candidates):
    """The rationale in front of it would give the answer away, whatever the passage."""
    columns = torch.arange(4).expand(4, 4)
    losses = []
    for session in (session_of(explained, candidates), open_session(explained, candidates)):
        settings = settings_of(session)
        losses.append(
            passage_losses(session.llm, session.passages, session.questions[:4], columns, **settings.computing)
        )
    assert torch.equal(*losses)


def test_the_best_passage_is_p1_wherever_it_stands(explained, candidates, monkeypatch):
    from jmlr.inference.questions import reading_of

    session = session_of(explained, candidates)
    question = next(q for q in session.questions if q.reasoning)
    best = question.candidates[:3]
    asked = []

    def passages(pairs, *, numbered=False):
        asked.append((pairs, numbered))
        return [[-1 - number] for number in range(len(pairs))]

    monkeypatch.setattr(session.passages.prompter, "passages", passages)
    ids, _ = reading_of(session.passages, question, best, best[::-1], 16)
    assert asked == [([session.passages.titles_and_texts([row])[0] for row in best], True)]
    assert [i for i in ids if i < 0] == [-3, -2, -1]  # the best, [P1], stands next to the question


def said_of(session, question, best, order, monkeypatch):
    """Return the explanation that is learned with these passages, as text."""
    from jmlr.inference.questions import reading_of

    said = []
    monkeypatch.setattr(session.passages.prompter, "reasoned", lambda text, *rest: said.append(text) or [7] * 9)
    ids, answer = reading_of(session.passages, question, best, order, 16)
    assert len(ids) + len(answer) <= session.passages.prompter.llm_tokens
    return said[-1]


def test_a_citation_is_the_number_of_its_passage_among_those_read_and_goes_where_it_is_not(
    citing, candidates, monkeypatch
):
    session = session_of(citing, candidates)
    question = next(q for q in session.questions if q.reasoning and len(q.candidates) > 3)
    [gold] = question.gold
    others = [row for row in question.candidates if row != gold]
    best = [others[0], gold, others[1]]
    for order in (best, best[::-1]):
        assert said_of(session, question, best, order, monkeypatch).endswith(" [P2] [nobody-sign].")
    unread = said_of(session, question, others[:3], others[:3], monkeypatch)
    assert "[P" not in unread
    assert unread.endswith(" [nobody-sign].")


def test_a_passage_for_which_the_prompt_has_no_room_is_not_cited(citing, candidates, monkeypatch):
    session = session_of(citing, candidates)
    question = next(q for q in session.questions if q.reasoning)
    [gold] = question.gold
    other = next(row for row in question.candidates if row != gold)
    prompter = session.passages.prompter
    both = prompter.passages(session.passages.titles_and_texts([other, gold]), numbered=True)
    prompter.llm_tokens = len(prompter.before) + len(question.reasoning.prompt) + sum(map(len, both)) + 9
    assert "[P2]" in said_of(session, question, [other, gold], [gold, other], monkeypatch)
    prompter.llm_tokens -= 1
    assert "[P" not in said_of(session, question, [other, gold], [gold, other], monkeypatch)
    assert "[P1]" in said_of(session, question, [gold, other], [other, gold], monkeypatch)


def test_explanations_that_cite_nothing_are_tokenised_once(explained, candidates):
    session = session_of(explained, candidates)
    assert {q.reasoning.citing for q in session.questions if q.reasoning} == {None}


def test_what_explanations_cite_is_counted(explained, citing, candidates, capsys):
    session_of(explained, candidates)
    told = capsys.readouterr().err
    assert re.search(
        r"explanations: ([\d,]+) of ([\d,]+) questions have one to learn; 0 cite .* 0 have a bracket", told
    )
    session_of(citing, candidates)
    told = capsys.readouterr().err
    all_cite = (
        r"explanations: ([\d,]+) of [\d,]+ questions have one to learn; \1 cite .* \1 have a bracket that is no such id"
    )
    assert re.search(all_cite, told)


def test_an_answer_that_a_learned_rationale_would_cut_off_is_told():
    prompt = {"question_prompt": "Question: {question}\n{options}\n"}
    answer = {"method": "generate", "rationale": True, "rationale_tokens": 100}
    row = {"rag": {"title": "RAG", "train": {"rationale": True, "rationale_tokens": 101}, "answer": answer}}
    told = list(warned(Config.load({"run": "mine", "reading": prompt, "systems": row}), {}))
    assert any("systems.rag: it learns rationales of 101 tokens" in line for line in told)
    answer["rationale_tokens"] = 101
    assert not any("101" in x for x in warned(Config.load({"run": "mine", "reading": prompt, "systems": row}), {}))


def test_without_an_explanation_there_is_nothing_to_learn(tiny, candidates):
    with pytest.raises(UserError, match="no question of split 'train' has an explanation to learn; map the field"):
        session_of(tiny, candidates)


def test_who_learns_rationales_and_is_asked_for_none_is_told():
    row = {"rag": {"title": "RAG", "train": {"rationale": True}}}
    told = list(warned(Config.load({"run": "mine", "systems": row}), {}))
    assert any("systems.rag: it learns to write rationales" in line for line in told)
    row["rag"]["answer"] = {"method": "generate", "rationale": True}
    prompt = {"question_prompt": "Question: {question}\n{options}\n"}
    assert not any(
        "rationales" in line for line in warned(Config.load({"run": "mine", "reading": prompt, "systems": row}), {})
    )


def test_learning_after_one_prompt_and_answering_after_another_is_refused():
    with pytest.raises(ConfigError, match=r"systems.jmlr: it would learn to reason after .*the same words"):
        Config.load(
            {
                "train": {"rationale": True, "rationale_prompt": LAST},
                "answer": {"method": "generate", "rationale": True},
                "reading": {"question_prompt": "{question}\n{options}\n"},
                "systems": {"jmlr": {"title": "JMLR", "train": {"target": "llm_rank"}}},
            }
        )
