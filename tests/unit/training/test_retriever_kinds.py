"""The joint step does not care which kind of retriever it trains: ColBERT and two encoders beside the dense one."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jmlr.config import Config
from jmlr.models.retriever import load_retriever
from jmlr.runtime.errors import UserError
from jmlr.stages.pretrain import pretrain
from jmlr.stages.train import train
from jmlr.topk import Index, MaxSimIndex
from jmlr.training.live import LiveCandidates
from jmlr.training.reference import reference_step
from jmlr.training.step import joint_step
from toys import open_session, toy_reading, toy_retrieval, toy_training

OPTIONS = toy_training(
    target="llm_rank", steps=4, batch=3, samples=4, sampling_temperature=0.2, retriever_learning_rate=1e-2
)
RETRIEVAL = toy_retrieval(retriever_query_tokens=24)


@pytest.fixture(scope="module")
def colbert(tiny, tmp_path_factory):
    """Return a ColBERT made by `pretrain`, with the demo's tokenizer."""
    folder = tmp_path_factory.mktemp("colbert") / "pretrain"
    options = Config.load({}).models["retriever"].pretrain
    assert options is not None
    options = options.model_copy(update={"steps": 2, "batch": 8, "colbert_depth": 16})
    pretrain(folder, tiny / "prepare", 0, options, [tiny / "world"])
    return folder


@pytest.fixture(scope="module")
def candidates(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    count = len(pq.read_table(tiny / "prepare/passages.parquet"))
    ids = pq.read_table(tiny / "prepare/questions.parquet")["id"].to_pylist()
    names = pq.read_table(tiny / "prepare/passages.parquet")["id"].to_pylist()
    rows = [sorted({(n * 5 + k * 3) % count for k in range(7)}) for n in range(len(ids))]
    scores = [[0.1 * c for c in range(len(r))] for r in rows]
    pq.write_table(
        pa.table(
            {
                "question_id": ids,
                "passages": pa.array(rows, pa.list_(pa.int32())),
                "scores": scores,
                "ids": [[names[r] for r in row] for row in rows],
            }
        ),
        folder / "candidates.parquet",
    )
    (folder / "manifest.json").write_text(json.dumps({"outputs": {}}))
    return folder


def gradients(session, step):
    """Run one step in float64; return both losses and the gradients of the retriever."""
    session.llm.double()
    session.retriever.double().zero_grad(set_to_none=True)
    settings = session.step_settings
    result = step(session.llm, session.retriever, session.passages, session.questions[:3], settings, 0, 5, True)
    (result.loss_lm + result.loss_rank).backward()
    grads = {n: p.grad.clone() for n, p in session.retriever.named_parameters() if p.grad is not None}
    return result.loss_lm.item(), result.loss_rank.item(), grads


def open_kind(tiny, retriever, candidates, **changes):
    return open_session(tiny, candidates, retriever=retriever, options=OPTIONS, retrieval=RETRIEVAL, **changes)


@pytest.mark.parametrize("encoders", ["shared", "query_only"])
def test_live_candidates_of_a_colbert_are_those_of_an_exact_search_and_follow_it(
    tiny, colbert, candidates, tmp_path, encoders
):
    session = open_kind(tiny, colbert, candidates, retriever_encoders=encoders)
    retriever, table = session.retriever, session.passages.table
    rows = [session.passages.for_retriever(row) for row in range(len(table))]
    tokens, offsets = retriever.encode_all(rows, "passage", batch_tokens=4096)
    MaxSimIndex.build(tokens, offsets, "int8").save(tmp_path / "index")
    live = LiveCandidates.open(tmp_path, 5, retriever, len(table))
    batch = session.questions[:4]
    before = live.renew(batch, session.step_settings)
    every = torch.arange(len(table)).expand(len(batch), -1)
    with torch.no_grad():
        expected = retriever.scores([q.query for q in batch], rows, every).topk(5)
    assert torch.allclose(torch.tensor([q.scores for q in before]), expected.values, atol=1e-4)
    assert [q.number for q in before] == [q.number for q in batch]
    with torch.no_grad():
        for p in retriever.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    assert [q.candidates for q in live.renew(batch, session.step_settings)] != [q.candidates for q in before]


def test_live_candidates_refuse_the_index_of_another_kind_of_retriever(tiny, colbert, candidates, tmp_path):
    late = open_kind(tiny, colbert, candidates).retriever
    dense = load_retriever(str(tiny / "retriever"))
    Index.build(torch.zeros(9, 16)).save(tmp_path / "dense/index")
    MaxSimIndex.build(torch.zeros(9, 96), range(10)).save(tmp_path / "late/index")
    MaxSimIndex.build(torch.zeros(9, 12), range(10)).save(tmp_path / "shallow/index")
    with pytest.raises(
        UserError, match=r"dense' holds one vector for each passage, .* makes one for each token; index"
    ):
        LiveCandidates.open(tmp_path / "dense", 5, late, 9)
    with pytest.raises(UserError, match=r"late' holds one for each token, .* makes one vector for each passage"):
        LiveCandidates.open(tmp_path / "late", 5, dense, 9)
    with pytest.raises(UserError, match="depth 12, the retriever makes 16"):
        LiveCandidates.open(tmp_path / "shallow", 5, late, 9)


def test_a_colbert_trains_with_live_candidates(tiny, colbert, candidates, tmp_path):
    session = open_kind(tiny, colbert, candidates)
    rows = [session.passages.for_retriever(row) for row in range(len(session.passages.table))]
    tokens, offsets = session.retriever.encode_all(rows, "passage", batch_tokens=4096)
    MaxSimIndex.build(tokens, offsets).save(tmp_path / "index/index")
    (tmp_path / "index/manifest.json").write_text(json.dumps({"outputs": {}}))
    found = []
    for live in (True, False):
        out, options = tmp_path / f"live-{live}", OPTIONS.model_copy(update={"live_candidates": live})
        train(
            out, tiny / "prepare", str(tiny / "llm"), 0, tmp_path / "s", options, toy_reading(), RETRIEVAL, retriever=str(colbert),
            search=candidates, index=tmp_path / "index" if live else None,
        )  # fmt: skip
        found.append((out / "retriever/model.safetensors").read_bytes())
    assert found[0] != found[1]  # candidates.parquet's are others


@pytest.mark.parametrize("encoders", ["shared", "separate", "query_only"])
@pytest.mark.parametrize("kind", ["dense", "colbert"])
def test_the_fast_step_equals_the_twin_for_every_kind_of_retriever(tiny, colbert, candidates, kind, encoders):
    retriever = colbert if kind == "colbert" else None
    session = open_kind(tiny, retriever, candidates, retriever_encoders=encoders)
    fast, twin = gradients(session, joint_step), gradients(session, reference_step)
    assert fast[:2] == pytest.approx(twin[:2], rel=1e-9)
    assert fast[2].keys() == twin[2].keys()
    trained = {n.split(".")[0] for n in fast[2]}
    parts = {"encoder", "projection"} if kind == "colbert" else {"encoder"}
    assert trained == {"shared": parts, "separate": {"query", "passage"}, "query_only": {"query"}}[encoders]
    largest = max(g.abs().max().item() for g in twin[2].values())
    for name, expected in twin[2].items():
        allowed = 1e-9 * max(expected.abs().max().item(), 1e-6 * largest)
        assert (fast[2][name] - expected).abs().max().item() <= allowed, name


def test_two_rounds_of_a_colbert_with_separate_encoders_go_on_from_each_other(tiny, colbert, candidates, tmp_path):
    options, retriever, previous = OPTIONS.model_copy(update={"retriever_encoders": "separate"}), colbert, None
    for number in (1, 2):
        out = tmp_path / f"r{number}/train"
        train(out, tiny / "prepare", str(tiny / "llm"), 0, tmp_path / "scratch", options, toy_reading(), RETRIEVAL,
              round=number, rounds=2, retriever=str(retriever), search=candidates, previous=previous)  # fmt: skip
        before, after = (load_retriever(str(p), encoders="separate") for p in (retriever, out / "retriever"))
        for part in ("query", "passage"):
            old, new = before.get_submodule(part).state_dict(), after.get_submodule(part).state_dict()
            assert any(not torch.equal(old[k], new[k]) for k in old), part
            assert (
                json.loads((out / f"retriever/{part}/config_sentence_transformers.json").read_text())["query_length"]
                == 24
            )
        retriever, previous = out / "retriever", out
