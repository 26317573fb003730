"""What a run of one's own inherits suits a pretrained model: it states sources, two models and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jmlr.config import Config, ConfigError

ROOT = Path(__file__).resolve().parents[2]
MINE = {
    "sources": {"documents": {"path": "notes"}, "questions": {"path": "exam.csv"}},
    "models": {"llm": {"path": "org/llm"}, "retriever": {"path": "org/encoder"}},
}


def test_sources_and_two_models_are_a_whole_run_at_a_pretrained_models_rates() -> None:
    run = Config.load(MINE)
    assert [c.source for c in run.prepare.corpora] == ["documents"]
    assert [(q.source, q.split) for q in run.prepare.questions] == [("questions", "hash")]
    for system in run.systems:
        train, reading = run.train_options(system), run.reading_options(system)
        assert 1e-5 <= train.retriever_learning_rate <= 5e-5
        assert train.llm_learning_rate == 1e-4
        assert (reading.answer_form, reading.llm_passage_tokens) == ("letter", 256)
    assert run.train_options("jmlr").keep_best


def test_no_toy_value_of_the_demo_reaches_a_run_of_ones_own() -> None:
    demo, own = Config.load({}), Config.load(MINE)
    for section, keys in {
        "train": ("llm_learning_rate", "retriever_learning_rate", "steps"),
        "reading": ("llm_passage_tokens", "llm_tokens", "answer_form"),
        "prepare": ("chunk_words", "corpora", "questions"),
    }.items():
        for key in keys:
            assert getattr(getattr(demo, section), key) != getattr(getattr(own, section), key), key


def test_the_committed_run_of_ones_own_states_no_rate_and_no_length() -> None:
    data = yaml.safe_load((ROOT / "config/runs/own.yaml").read_text())
    assert set(data) == {"run", "sources", "prepare", "models"}
    assert list(Config.load(data).systems) == ["closed_book", "rag", "jmlr"]


def test_a_run_on_the_demos_world_keeps_the_demos_values_where_it_says_nothing() -> None:
    run = Config.load({"sources": {"world": {"origin": "demo"}}, "train": {"steps": 5}})
    assert (run.train.steps, run.train.llm_learning_rate, run.reading.llm_passage_tokens) == (5, 2e-3, 64)


@pytest.mark.parametrize("missing", ["documents", "questions"])
def test_a_source_of_another_name_needs_an_entry_that_reads_it(missing: str) -> None:
    sources = {k: v for k, v in MINE["sources"].items() if k != missing}
    key = "corpora" if missing == "documents" else "questions"
    with pytest.raises(ConfigError, match=f"prepare.{key}: not given; allowed: .* a source named '{missing}'"):
        Config.load({**MINE, "sources": sources})
