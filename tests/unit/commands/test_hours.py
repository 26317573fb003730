"""What the plan counts of stages with language models: pre-training, answers and verdicts that are written, servers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from jmlr.commands.config import read_config
from jmlr.commands.hours import asked_of_servers
from jmlr.commands.plan import costs
from jmlr.commands.sizes import Sizes
from jmlr.config import Config
from jmlr.models.flops import Shape
from jmlr.runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
RATES = yaml.safe_load((ROOT / "docs/slurm/rates.yaml").read_text())


def lines_of(run: Config, sizes: Sizes, device: str = "h100"):
    return {x.stage: x for x in costs(run, sizes, RATES, device)}


def pretraining(documents: str = "", **pretrain) -> Config:
    """Return a run that makes a Llama-2-7B from scratch; `documents`: name of a source of what it reads."""
    made = {"architecture": RATES["models"]["Llama-2-7b-hf"], "batch": 8, "max_tokens": 100, "steps": 50, **pretrain}
    prepare = {"corpora": [{"source": "a"}], "questions": [{"source": "a"}]}
    prepare |= {"documents": [{"source": documents}]} if documents else {}
    return Config.load({
        "run": "mine", "sources": {"a": {"path": "a"}}, "prepare": prepare,
        "models": {"llm": {"pretrain": made}, "retriever": {"path": "bert-base-uncased"}},
        "systems": {"closed": {"title": "Closed book", "train": {"passages": 0}}},
    })  # fmt: skip


ONE_GPU, FOUR, EIGHT = (Sizes(1000, 10, 5, 4, 1.0, nodes, gpus) for nodes, gpus in ((1, 1), (1, 4), (2, 4)))


def test_a_language_model_is_pretrained_in_three_forward_passes_of_its_tokens():
    llama, rate = Shape.of(RATES["models"]["Llama-2-7b-hf"]), float(RATES["devices"]["h100"]["train_flops"]["value"])
    hours = 50 * 8 * 3 * llama.forward(100, 100) / rate / 3600 + 120 / 3600
    line = lines_of(pretraining(), ONE_GPU)["pretrain"]
    assert (line.hours, line.gpu_hours) == (pytest.approx(hours), pytest.approx(hours))
    assert line.bytes == pytest.approx(4 * 6.74e9, rel=0.01)
    again = lines_of(pretraining(gradient_checkpointing=True), ONE_GPU)["pretrain"]
    assert again.hours - 120 / 3600 == pytest.approx((hours - 120 / 3600) * 4 / 3)


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [
        ({"tokens": 8000}, 8000),
        ({"epochs": 2.0, "reads": "passages", "max_tokens": 512}, 2 * 1000 * 256),  # as long as the LLM reads them
        ({"epochs": 2.0, "reads": "passages", "max_tokens": 100}, 2 * 1000 * 100),  # cut
        ({"epochs": 2.0}, 2 * 1000 * 100),  # of documents: the passages, as running text
    ],
)
def test_a_budget_of_pretraining_is_counted_by_its_tokens(budget, tokens):
    one, rate = pretraining(**budget), float(RATES["devices"]["h100"]["train_flops"]["value"])
    llama, length = Shape.of(RATES["models"]["Llama-2-7b-hf"]), budget.get("max_tokens", 100)
    flops = 3 * tokens / length * llama.forward(length, length)
    assert lines_of(one, ONE_GPU)["pretrain"].hours == pytest.approx(flops / rate / 3600 + 120 / 3600)


def test_several_gpus_share_the_pretraining_of_a_language_model_as_far_as_its_batch_goes():
    start = 120 / 3600
    one, four, eight = (lines_of(pretraining(), sizes)["pretrain"] for sizes in (ONE_GPU, FOUR, EIGHT))
    assert one.hours - start == pytest.approx((four.hours - start) * 4 * 0.9)
    assert one.hours - start == pytest.approx((eight.hours - start) * 8 * 0.8)
    assert eight.gpu_hours == pytest.approx(8 * eight.hours)
    few = lines_of(pretraining(batch=2, steps=200), EIGHT)["pretrain"]
    assert one.hours - start == pytest.approx((few.hours - start) * 2 * 0.9)
    assert lines_of(pretraining(shard_llm=True), FOUR)["pretrain"] == four


def test_a_model_that_is_cut_answers_on_all_gpus_and_comes_from_the_others_at_each_pass():
    start, sizes = 120 / 3600, Sizes(1000, 100, 64, 4, 1.0, 1, 4)
    run, cut = pretraining(), pretraining()
    cut.systems["closed"] = cut.systems["closed"].model_copy(update={"answer": {"shard_llm": True}})
    one, four = (lines_of(r, sizes)["answer"] for r in (run, cut))
    assert lines_of(run, sizes)["answer"].gpu_hours == pytest.approx(one.hours)
    passes, weights = 2 * 64 / 16 / 4, 4 * Shape.of(RATES["models"]["Llama-2-7b-hf"]).weights  # a batch of each rank
    gathered = passes * weights / float(RATES["everywhere"]["gathered_bytes_per_s"]["value"]) / 3600
    assert four.hours - start == pytest.approx((one.hours - start) / 4 / 0.9 + gathered)
    assert four.gpu_hours == pytest.approx(4 * four.hours)
    assert lines_of(cut, ONE_GPU)["answer"] == lines_of(run, ONE_GPU)["answer"]


def test_a_retriever_is_pretrained_by_one_process_and_a_colberts_vectors_meet_each_other():
    demo = {x.stage: x for x in costs(Config.load({}), FOUR, RATES, "h100")}["pretrain"]
    assert demo.hours > 0
    made = {
        "objective": "inverse_cloze",
        "architecture": RATES["models"]["bert-base-uncased"],
        "batch": 64,
        "max_tokens": 128,
    }
    seconds = []
    for more in ({}, {"colbert_depth": 128}, {"steps": 900}):
        run = pretraining()
        run.models["retriever"] = type(run.models["retriever"]).model_validate(
            {"pretrain": {**made, "steps": 450, **more}}
        )
        run.systems["closed"].train["passages"] = 1
        line, alone = lines_of(run, FOUR)["pretrain"], lines_of(pretraining(), FOUR)["pretrain"]
        seconds.append((line.hours - alone.hours) * 3600 - 120)
        assert line.gpu_hours - alone.gpu_hours == pytest.approx(line.hours - alone.hours)  # one GPU of the four
    assert seconds[1] > seconds[0]
    assert seconds[2] == pytest.approx(2 * seconds[0])


def test_documents_that_nobody_has_counted_are_said_where_epochs_need_them():
    run = pretraining(documents="a", epochs=1.0)
    with pytest.raises(UserError, match=r"models.llm.pretrain.epochs: .* source 'a' .* say `steps` or `tokens`"):
        lines_of(run, ONE_GPU)


def test_answers_and_verdicts_that_are_written_take_longer_and_servers_take_no_hours():
    below, over = (ROOT / f"config/runs/{name}.yaml" for name in ("paper-13b", "paper-others"))
    paper, sizes = read_config(below, over), Sizes(1000, 1000, 100, 4, 1.0, 1, 4)
    text = "\n".join(asked_of_servers(paper, sizes))
    assert re.search(r"endpoints.gpt4: 100 requests, .* by its prices, of which it may cost 50", text)
    assert re.search(r"endpoints.judge_here: 200 requests, at most \d+ thousand tokens sent and 102 received", text)
    lines = lines_of(paper, sizes)
    assert (lines["judge"].jobs, lines["judge"].hours) == (1, 0)
    assert lines["pretrain"].hours > 1
    run = Config.load({"judge": {"judges": ["llm"], "pairs": [["jmlr", "rag"]]}})
    sizes = Sizes(1000, 200, 100, 4, 1.0, 1, 1)
    assert lines_of(run, sizes)["judge"].hours > 120 / 3600
    chosen, wrote = (
        lines_of(Config.load({"systems": {"rag": {"title": "RAG", "answer": a}}}), sizes)["answer"].hours
        for a in ({}, {"method": "generate", "rationale": True})
    )
    assert wrote > chosen
