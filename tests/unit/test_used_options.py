"""Options that a training does not use are no reason to train again."""

import pytest

from jmlr.config import Config, ConfigError
from jmlr.options import TrainOptions
from jmlr.options.train import OF_THE_RETRIEVER
from jmlr.training.step import StepSettings

# What a frozen system's training reads besides: of the step, where no ranking loss is due, nothing of these decides anything.
LLM = {"passages", "passage_order", "steps", "epochs", "batch", "llm_learning_rate", "lora_rank", "train_precision"}


def test_a_change_of_the_retrievers_options_changes_nothing_for_a_system_whose_retriever_is_frozen():
    plain = Config.load({})
    changed = {"retriever_learning_rate": 0.5, "samples": 3, "sampling_temperature": 0.7, "prior_weight": 2.0}
    other = Config.load({"train": changed})
    for name in ("closed_book", "rag"):
        assert other.train_options(name).used == plain.train_options(name).used
        assert other.train_options(name) != plain.train_options(name)
    assert other.train_options("jmlr").used == other.train_options("jmlr")
    assert other.train_options("jmlr").used != plain.train_options("jmlr").used


@pytest.mark.parametrize("target", ["frozen", "llm_rank"])
def test_what_the_llm_learns_by_is_always_used(target):
    options = TrainOptions(target=target, steps=7, batch=3, lora_rank=5, llm_learning_rate=0.25)
    assert {k: getattr(options.used, k) for k in LLM} == {k: getattr(options, k) for k in LLM}
    assert not LLM & set(OF_THE_RETRIEVER)


def test_a_frozen_system_trains_the_same_whatever_these_options_say(tiny, candidates):
    """The promise behind it: with a frozen retriever the step has the same bits."""
    import torch

    from jmlr.training.step import joint_step
    from toys import open_session, toy_training

    losses = []
    for changes in (
        {},
        {"samples": 2, "sampling_temperature": 3.0, "prior_weight": 9.0, "rank_after_steps": 4, "rank_weight": 5.0},
    ):
        session = open_session(tiny, candidates, options=toy_training(steps=1, batch=4, **changes))
        settings = StepSettings.of({**dict(session.options), **dict(session.reading)})
        result = joint_step(session.llm, None, session.passages, session.questions[:4], settings, 0, 0, True)
        losses.append(result.loss_lm.detach())
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objective": "inverse_cloze", "shard_llm": True}, "shard_llm True with objective inverse_cloze: only causal has it"),
        ({"objective": "inverse_cloze", "shuffle": False}, "shuffle False with objective inverse_cloze: only causal has it"),
        ({"noise_words": 3}, "noise_words 3 with objective causal: only inverse_cloze has it; leave it out"),
        ({"colbert_depth": 8}, "colbert_depth 8 with objective causal: only inverse_cloze has it; leave it out"),
    ],
)  # fmt: skip
def test_what_only_the_other_objective_of_pretrain_has_is_refused(given, said):
    with pytest.raises(ConfigError) as error:
        Config.load({"models": {"m": {"pretrain": {"init": "org/m", **given}}}})
    assert str(error.value).startswith("config: models.m.pretrain: ")
    assert said in str(error.value)


def test_a_model_that_two_files_give_a_path_and_a_pretrain_says_how_to_take_one_away():
    both = {"path": "org/m", "pretrain": {"init": "org/m"}}
    models = {"llm": both, "retriever": {"path": "org/r"}}
    with pytest.raises(ConfigError, match=r"models.llm: give either 'path' or 'pretrain'; .* by path: \"\""):
        Config.load({"models": models})
    for less in ({"path": ""}, {"pretrain": None}):
        Config.load({"models": {**models, "llm": {**both, **less}}})
