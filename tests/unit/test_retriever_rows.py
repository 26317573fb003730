"""Rows of other retrievers: what of words, of fused lists and of re-ranked ones fits together, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from jmlr.config import Config, ConfigError
from jmlr.together import retriever_kinds

MODELS = {"llm": {"path": "org/llm"}, "retriever": {"path": "org/retriever"}}
JOINT = {"retriever": "retriever", "train": {"target": "pdist"}}


def with_lists(models: dict[str, Any], **row: Any) -> dict[str, Any]:
    """Return a run with BM25 and more models, and a row that reads by BM25."""
    return {
        "models": {**MODELS, "bm25": {"bm25": {}}, **models},
        "systems": {"a": {"title": "A", "retriever": "bm25"} | row},
    }


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            with_lists({"x": {"fusion": {"of": ["bm25", "retriver"]}}}),
            "fusion.of: no model 'retriver' (did you mean 'retriever'?)",
        ),
        (
            with_lists({"x": {"fusion": {"of": ["y", "bm25"]}}, "y": {"fusion": {"of": ["bm25", "x"]}}}),
            "made of itself (x -> y -> x)",
        ),
        (with_lists({"x": {"fusion": {"of": ["bm25"]}}}), "models.x.fusion.of: List should have at least 2 items"),
        (with_lists({"x": {"path": "a", "bm25": {}}}), "a retriever may have one of bm25, fusion, rerank instead"),
        (with_lists({"x": {"bm25": {"k": 1}}}), "unknown key 'models.x.bm25.k' (did you mean 'k1'?)"),
        (
            with_lists({"x": {"pretrain": {"init": "model:bm25"}}}),
            "models.x.pretrain.init: 'bm25' is a retriever without weights",
        ),
        (
            with_lists({}, train={"target": "pdist"}),
            "systems.a.retriever: 'bm25' is a retriever without weights (bm25), and train.target pdist trains it; allowed: retriever",
        ),
        (with_lists({"x": {"rerank": {"of": "bm25"}}}), "models.x.rerank.path: Field required"),
        (with_lists({"x": {"rerank": {"of": "x", "path": "org/reader"}}}), "models.x: it is made of itself (x -> x)"),
        (
            with_lists({}, train={"teacher": "gold"}),
            "systems.a: train.teacher, but train.target is frozen; allowed: with",
        ),
        (
            with_lists({}, candidates="bm25"),
            "systems.a.candidates: train.target is frozen; allowed: with a target, or leave",
        ),
        (with_lists({}, **JOINT, candidates="bm52"), "systems.a.candidates: no model 'bm52' (did you mean 'bm25'?)"),
        (with_lists({}, **JOINT, candidates="a"), "systems.a: it is made of itself (a -> a)"),
        (
            with_lists({}, **{**JOINT, "train": {"target": "pdist", "prior_weight": 3}}, candidates="bm25"),
            "systems.a.candidates with train.prior_weight 3, which is of its own retriever",
        ),
        (with_lists({}, llm="bm25"), "systems.a.llm: 'bm25' is a retriever without weights (bm25)"),
        (
            {**with_lists({}), "judge": {"judges": ["bm25"], "pairs": [["a", "a"]]}},
            "judge.judges: 'bm25' is a retriever without weights",
        ),
    ],
)
def test_what_no_retriever_or_no_training_can_be_is_one_line_that_names_the_key(bad, said):
    with pytest.raises(ConfigError) as error:
        Config.load(bad)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


ROWS = {
    "a": {"title": "A"},
    "closed": {"title": "C", "train": {"passages": 0}},
    "jmlr": {"title": "J", "train": {"target": "pdist"}},
}
MADE = {"own": {"pretrain": {"reads": "passages"}}, "enc": {"pretrain": {"objective": "inverse_cloze"}}}


def named(more: dict[str, Any] | None = None, **row: Any) -> dict[str, Any]:
    """Return a run with all kinds of models and rows, and a row that names some."""
    models = {**MODELS, **MADE, "words": {"bm25": {}}, "hybrid": {"fusion": {"of": ["words", "retriever"]}}}
    return {"models": {**models, **(more or {})}, "systems": {**ROWS, "row": {"title": "Row", **row}}}


FOUND = "enc, hybrid, jmlr, retriever, words"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            named({"x": {"fusion": {"of": ["words", "llm"]}}}),
            f"models.x.fusion.of: 'llm' is a language model; allowed: {FOUND}",
        ),
        (
            named({"x": {"fusion": {"of": ["words", "own"]}}}),
            "models.x.fusion.of: 'own' is a language model; allowed: ",
        ),
        (
            named({"x": {"rerank": {"of": "a", "path": "org/x"}}}),
            f"models.x.rerank.of: 'a' is a system that trains no retriever; allowed: {FOUND}",
        ),
        (named({"x": {"fusion": {"of": ["words", "zzz"]}}}), f"models.x.fusion.of: no model 'zzz' (allowed: {FOUND})"),
        (
            named({"x": {"fusion": {"of": ["words", "zzz"]}}, "y": {"rerank": {"of": "x", "path": "org/x"}}}),
            f"no model 'zzz' (allowed: {FOUND})",
        ),
        (named(retriever="zzz"), f"systems.row.retriever: no model 'zzz' (allowed: {FOUND})"),
        (named(retriever="a"), f"systems.row.retriever: 'a' is a system that trains no retriever; allowed: {FOUND}"),
        (
            named(**{**JOINT, "retriever": "zzz"}),
            "systems.row.retriever: no model 'zzz' (allowed: enc, retriever)",
        ),
        (
            named(**{**JOINT, "retriever": "jmlr"}),
            "systems.row.retriever: 'jmlr' is a system, and train.target pdist trains it; allowed: enc, retriever",
        ),
        (named(**JOINT, candidates="zzz"), f"systems.row.candidates: no model 'zzz' (allowed: {FOUND})"),
        (named(**JOINT, candidates="words2"), "systems.row.candidates: no model 'words2' (did you mean 'words'?)"),
        (named(**JOINT, candidates="llm"), "systems.row.candidates: 'llm' is a language model; allowed: "),
        (
            named(**JOINT, candidates="closed"),
            "systems.row.candidates: 'closed' is a system that trains no retriever; allowed: ",
        ),
        (named(llm="zzz"), "systems.row.llm: no model 'zzz' (allowed: llm, own)"),
        (named(llm="enc"), "systems.row.llm: 'enc' is a retriever; allowed: llm, own"),
        (named(llm="words"), "systems.row.llm: 'words' is a retriever without weights (bm25); allowed: llm, own"),
        ({**named(), "judge": {"judges": ["zzz"], "pairs": [["a", "jmlr"]]}}, "model 'zzz' (allowed: llm, own)"),
        (
            {**named(), "judge": {"judges": ["enc"], "pairs": [["a", "jmlr"]]}},
            "'enc' is a retriever; allowed: llm, own",
        ),
        (
            named({"x": {"pretrain": {"init": "model:zzz"}}}),
            "models.x.pretrain.init: no model 'zzz' (allowed: llm, own)",
        ),
        (
            named({"x": {"pretrain": {"init": "model:enc"}}}),
            "models.x.pretrain.init: 'enc' is a retriever; allowed: llm, own",
        ),
        (
            named({"x": {"pretrain": {"init": "model:zzz", "objective": "inverse_cloze"}}}),
            "models.x.pretrain.init: no model 'zzz' (allowed: enc, retriever)",
        ),
        (
            {"models": {"llm": MODELS["llm"]}, "systems": {"a": ROWS["a"]}},
            "systems.a.retriever: no model 'retriever' (none is here)",
        ),
        (  # told of the row that lacks it, not of the one that borrows from that
            named(**{**JOINT, "retriever": "zzz"})
            | {
                "systems": {
                    "b": {"title": "B", "retriever": "row"},
                    **named(**{**JOINT, "retriever": "zzz"})["systems"],
                }
            },
            "systems.row.retriever: no model 'zzz' (allowed: enc, retriever)",
        ),
    ],
)
def test_a_wrong_name_is_told_and_so_are_all_that_can_be_meant_there_and_no_others(bad, said):
    with pytest.raises(ConfigError) as error:
        Config.load(bad)
    assert str(error.value).endswith(said) or (said.endswith("allowed: ") and said in str(error.value))
    assert "\n" not in str(error.value)


def test_a_model_that_a_row_searches_with_and_another_answers_with_may_stand_in_a_list():
    rows = {**ROWS, "row": {"title": "R", "llm": "retriever"}}
    lists = {"bm25": {"bm25": {}}, "x": {"fusion": {"of": ["bm25", "retriever"]}}}
    assert Config.load({"models": {**MODELS, **lists}, "systems": rows}).models["x"].lists == ["bm25", "retriever"]


def test_a_retriever_made_of_others_has_a_seed_where_one_of_them_has_and_all_their_models_stand_behind_it():
    lists = {"hybrid": {"fusion": {"of": ["bm25", "retriever"]}}, "more": {"fusion": {"of": ["hybrid", "jmlr"]}}}
    joint = {"title": "J", "llm": "other", "rounds": 2, "train": {"target": "pdist"}}
    run = with_lists({**lists, "other": {"pretrain": {"init": "org/other"}}}, rounds=0)
    rows = {
        "b": {"title": "B", "retriever": "hybrid", "rounds": 0},
        "c": {"title": "C", "retriever": "more", "rounds": 0},
    }
    run = Config.load({**run, "seeds": [3, 4], "systems": {**run["systems"], **rows, "jmlr": joint}})
    assert [run.is_fixed(name) for name in ("bm25", "hybrid", "more", "other", "jmlr")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [run.seeds_of(name) for name in "abc"] == [[3], [3], [3, 4]]
    assert run.models_of("b") == ["llm", "hybrid", "bm25", "retriever"]
    assert run.models_of("c") == ["llm", "more", "hybrid", "other", "retriever", "bm25"]


def test_a_row_that_reads_nothing_may_name_no_retriever_that_is_there() -> None:
    closed = {"title": "Closed", "train": {"passages": 0}, "retriever": "nothing"}
    data = {"run": "mine", "models": {"llm": {"path": "org/llm"}}, "systems": {"closed": closed}}
    assert retriever_kinds(Config.load(data), {"llm": "org/llm"}, {}) == {"llm": "", "closed": ""}
