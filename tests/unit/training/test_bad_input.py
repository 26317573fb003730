"""What a training does with data and models that do not fit: one line that names them, or a defined result."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig

from jmlr.corpus.prompt import Prompter
from jmlr.inference.questions import read_questions
from jmlr.models.llm import check_context
from jmlr.models.load import pretrained
from jmlr.runtime.errors import UserError
from jmlr.topk import Index
from jmlr.training.live import LiveCandidates
from jmlr.training.loop import _check_finite
from jmlr.training.step import joint_step
from toys import open_session, settings_of, toy_reading


def prompter(tiny, **changes):
    from transformers import AutoTokenizer

    tokenizer = pretrained(AutoTokenizer, str(tiny / "llm"), "tokenizer")
    return Prompter(tokenizer, **toy_reading().model_copy(update=changes).model_dump(exclude={"llm_precision"}))


@pytest.mark.parametrize(
    ("passages", "scores", "word"),
    [
        ([1, 2, 2], [0.0] * 3, "twice"),
        ([], [], "no candidates"),
        ([1, 2], [0.0], "2 candidates, but 1 scores"),
        ([1, 10**6], [0.0] * 2, "names passage 1000000"),
    ],
)
def test_candidates_that_cannot_be_are_refused_naming_the_question(tiny, candidates, tmp_path, passages, scores, word):
    table = pq.read_table(candidates / "candidates.parquet").to_pylist()
    table[0] = {**table[0], "passages": passages, "scores": scores}
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "candidates.parquet")
    with pytest.raises(UserError, match=f"'train-0'.*{word}"):
        open_session(tiny, tmp_path)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_candidates_than_are_judged_or_read_are_all_judged_and_read(tiny, candidates, count):
    session = open_session(tiny, candidates)
    batch = [replace(q, candidates=q.candidates[:count], scores=q.scores[:count]) for q in session.questions[:3]]
    settings = settings_of(session, samples=10, passages=7)
    result = joint_step(session.llm, session.retriever, session.passages, batch, settings, 0, 0, True)
    (result.loss_lm + result.loss_rank).backward()
    assert torch.isfinite(result.loss_lm)
    assert (result.loss_rank.item() == 0) == (count == 1)  # one passage: no pair, no signal


def test_an_answer_of_no_tokens_is_refused_naming_the_question(tiny):
    with pytest.raises(UserError, match=r"question 'train-.*answer of no tokens.*llm_answer_tokens"):
        read_questions(
            tiny / "prepare",
            None,
            prompter(tiny, llm_answer_tokens=1),
            None,
            split="train",
            query_options=False,
            retriever_query_tokens=64,
        )


def test_questions_without_an_answer_are_never_trained_on(tiny, tmp_path):
    table = pq.read_table(tiny / "prepare/questions.parquet")
    bare = {"options": [], "answer": -1, "answer_text": ""}
    rows = [{**q, **(bare if q["split"] == "train" and i % 2 else {})} for i, q in enumerate(table.to_pylist())]
    kept = [q["answer_text"] for q in rows if q["split"] == "train" and q["answer"] >= 0]
    (tmp_path / "passages.parquet").symlink_to(tiny / "prepare/passages.parquet")

    def read(rows):
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "questions.parquet")
        return read_questions(
            tmp_path, None, prompter(tiny), None, split="train", query_options=False, retriever_query_tokens=64
        )

    assert 0 < len(kept) < sum(q["split"] == "train" for q in rows)
    assert [q.answer_text for q in read(rows)] == kept
    with pytest.raises(
        UserError, match="no question of split 'train' has an answer; those without one count for retrieval"
    ):
        read([{**q, **bare} for q in rows])


def test_a_question_longer_than_its_room_keeps_its_end_is_counted_and_never_exceeds_the_context(tiny):
    made = prompter(tiny, llm_question_tokens=20, llm_answer_tokens=8, llm_tokens=40)
    text = "word " * 300 + "what is the ?"
    question = made.question(text, [])
    assert made.cut["questions"] == 1
    assert question[:20] == made.tokenizer(f"Question: {text}\n", add_special_tokens=False)["input_ids"][-20:]
    prompt = made.prompt(question, [[1] * 100], room=8)
    assert len(prompt) <= 32
    assert made.cut["dropped_passages"] == 1


def test_a_prompt_without_room_for_a_question_is_refused(tiny):
    with pytest.raises(UserError, match="llm_tokens 16 leaves no room for a question"):
        prompter(tiny, llm_tokens=16, llm_answer_tokens=16)


def test_prompts_longer_than_the_model_s_context_are_refused(tiny):
    nested = {"text_config": {"max_position_embeddings": 512}}
    kinds = [("llama", {"max_position_embeddings": 512}), ("gpt2", {"n_positions": 512}), ("mpt", {"max_seq_len": 512}), ("gemma3", nested)]  # fmt: skip
    for kind, settings in kinds:
        config = AutoConfig.for_model(kind, **settings)
        check_context(config, 512, "llm")
        with pytest.raises(UserError, match="llm_tokens 513 is more than the context of 'llm': 512"):
            check_context(config, 513, "llm")
    check_context(AutoConfig.for_model("bloom"), 10**6, "llm")  # its positions have no bound


def test_a_model_without_a_pad_token_gives_the_same_losses(tiny, candidates):
    session = open_session(tiny, candidates)
    batch, settings = session.questions[:3], settings_of(session)
    with_pad = joint_step(session.llm, session.retriever, session.passages, batch, settings, 0, 0, True)
    session.llm.config.pad_token_id = None
    session.passages.prompter.tokenizer.pad_token = None
    without = joint_step(session.llm, session.retriever, session.passages, batch, settings, 0, 0, True)
    assert with_pad.loss_lm.item() == without.loss_lm.item()
    assert with_pad.loss_rank.item() == without.loss_rank.item()


def test_live_candidates_follow_the_retriever_and_are_those_of_an_exact_search(tiny, candidates, tmp_path):
    session = open_session(tiny, candidates)
    passages = [session.passages.for_retriever(row) for row in range(len(session.passages.table))]
    vectors, _ = session.retriever.encode_all(passages, batch_tokens=4096)
    Index.build(vectors).save(tmp_path / "index")
    live = LiveCandidates.open(tmp_path, 5, session.retriever, len(vectors))
    batch = session.questions[:4]
    before = live.renew(batch, session.step_settings)
    queries, _ = session.retriever.encode_all([q.query for q in batch], batch_tokens=4096)
    expected = (queries @ vectors.T).topk(5).values
    assert np.allclose([q.scores for q in before], expected, atol=1e-5)
    with torch.no_grad():
        for p in session.retriever.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    after = live.renew(batch, session.step_settings)
    assert [q.candidates for q in after] != [q.candidates for q in before]
    assert [q.number for q in after] == [q.number for q in batch]


def test_an_index_of_another_depth_or_of_other_passages_is_refused(tiny, candidates, tmp_path):
    session = open_session(tiny, candidates)
    n = len(session.passages.table)
    Index.build(torch.zeros(n, 7)).save(tmp_path / "shallow/index")
    with pytest.raises(UserError, match="depth 7, the retriever makes 96"):
        LiveCandidates.open(tmp_path / "shallow", 5, session.retriever, n)
    Index.build(torch.zeros(n - 1, 96)).save(tmp_path / "short/index")
    with pytest.raises(UserError, match=f"holds vectors of {n - 1} passages, passages.parquet {n}"):
        LiveCandidates.open(tmp_path / "short", 5, session.retriever, n)


@pytest.mark.parametrize(("name", "rate"), [("loss_lm", "llm_learning_rate"), ("loss_rank", "retriever_learning_rate")])
def test_a_loss_that_is_no_number_names_the_step_and_the_mend(name, rate):
    with pytest.raises(UserError, match=f"{name} is nan at step 8.*{rate}"):
        _check_finite({name: float("nan")}, 7)
