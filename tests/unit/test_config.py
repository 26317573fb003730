import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from jmlr import options
from jmlr.__main__ import _parse, home
from jmlr.config import Config, ConfigError
from jmlr.options import TrainOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.job_options import values
from jmlr.runtime.synonyms import FORMER, SYNONYMS

GPT = {"endpoints": {"gpt": {"base_url": "https://host/v1", "model": "gpt-4", "key_env": "KEY"}}}
ZERO = {"title": "Z", "llm": "gpt", "rounds": 0, "reading": {"question_prompt": "{question}\n{options}\n"}}
MODELS = {"llm": {"path": "org/llm"}, "retriever": {"path": "org/retriever"}}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"trian": {}}, "unknown key 'trian' (did you mean 'train'?)"),
        ({"train": {"stepz": 3}}, "unknown key 'train.stepz' (did you mean 'steps'?)"),
        ({"train": {"num_train_epochs": 3}}, "unknown key 'train.num_train_epochs' (here: epochs)"),
        ({"train": {"target_modules": ["q_proj"]}}, "unknown key 'train.target_modules' (here: lora_targets)"),
        (
            {"train": {"gradient_accumulation_steps": 2}},
            "(here: micro_batch, the questions of one forward pass, not the number",
        ),
        (
            {"reading": {"max_seq_length": 512}},
            "unknown key 'reading.max_seq_length' (here: llm_tokens, of prompt and answer together)",
        ),
        ({"train": {"steps": "many"}}, "train.steps: Input should be a valid integer"),
        ({"systems": {"a": {"title": "A", "train": {"target": "x"}}}}, "systems.a.train: target"),
        ({"systems": {"a": {"title": "A", "llm": "lm"}}}, "systems.a.llm: no model 'lm' (did you mean 'llm'?)"),
        (
            {
                "systems": {"a": {"title": "A"}, "b": {"title": "B", "retriever": "a"}}
            },  # a's stays as it is: nothing to lend
            "systems.b.retriever: 'a' is a system that trains no retriever",
        ),
        ({"prepare": {"corpora": [{"source": "wrld"}]}}, "no source 'wrld' (did you mean 'world'?)"),
        ({"models": {"llm": {}}}, "give either 'path' or 'pretrain'"),
        ({"systems": {"a": {"title": "A", "reading": {"llm_token": 3}}}}, "systems.a.reading: unknown key 'llm_token'"),
        ({"systems": {"a": {"title": "A", "answer": {"method": "guess"}}}}, "systems.a.answer: method"),
        (
            {"systems": {"a": {"title": "A", "answer": {"rationale": True}}}},
            "systems.a.answer: rationale: it is written",
        ),
        ({"systems": {"a": {"title": "A", "rounds": 0, "train": {"target": "pdist"}}}}, "rounds: 0 trains nothing"),
        ({"systems": {"a": {"title": "A", "rounds": 0, "answer": {"method": "generate"}}}}, "must see the options"),
        ({**GPT, "systems": {"a": {"title": "A", "llm": "gpt"}}}, "an endpoint cannot be trained; say rounds: 0"),
        ({**GPT, "systems": {"a": {**ZERO, "answer": {"method": "likelihood"}}}}, "an endpoint tells no likelihoods"),
        ({**GPT, "systems": {"a": {**ZERO, "llm": "gtp"}}}, "no model 'gtp' (did you mean 'gpt'?)"),
        ({"endpoints": {"llm": GPT["endpoints"]["gpt"]}}, "endpoints.llm: a model has this name already"),
        ({"endpoints": {"gpt": {"base_url": "https://h/v1"}}}, "endpoints.gpt.model: Field required"),
        (
            {"models": {**MODELS, "more": {"pretrain": {"init": "model:lm"}}}},
            "models.more.pretrain.init: no model 'lm'",
        ),
        (
            {"models": {**MODELS, "more": {"pretrain": {"init": "model:more"}}}},
            "models.more: it is made of itself (more -> more)",
        ),
        ({"judge": {"judges": ["gpt"], "pairs": [["rag", "jmlr"]]}}, "judge.judges: no model 'gpt' (allowed: llm"),
        ({"judge": {"judges": ["llm"], "pairs": [["rag", "jmrl"]]}}, "no system 'jmrl' (did you mean 'jmlr'?)"),
        ({"judge": {"judges": ["llm"]}}, "it takes both judges and pairs"),
        ({"evaluate": {"concepts": "my_umls"}}, "evaluate.concepts"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_names_it(bad, said):
    with pytest.raises(ConfigError) as error:
        Config.load(bad)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_system_that_trains_no_retriever_may_take_the_one_that_another_trained():
    joint = {"title": "A", "train": {"target": "llm_rank"}}
    assert Config.load({"systems": {"a": joint, "b": {"title": "B", "retriever": "a"}}}).systems["b"].retriever == "a"
    with pytest.raises(
        ConfigError,
        match=r"systems.b.retriever: 'a' is a system, and train.target llm_rank trains it; allowed: retriever",
    ):
        Config.load({"systems": {"a": joint, "b": {**joint, "retriever": "a"}}})


def stage(options: TrainOptions, out: Path = Path(), systems: dict[str, Any] | None = None) -> None:
    """Stand in for a stage."""


def test_options_written_into_a_file_are_read_back_as_they_were(tmp_path):
    options = TrainOptions(
        target="pdist", lora_targets=["q_proj", "it's", "2:00:00", "no", "1e-5", "{a}\n", "\u2028é"], train_precision="float32",
        rank_weight=0.25, llm_learning_rate=1e-05, weight_decay=1e22,
    )  # fmt: skip
    systems = {"b": {"rounds": 0}, "a": {"title": "RAG: é", "010": None}}
    (tmp_path / "o.yaml").write_text(values(options, systems=systems), encoding="utf-8")
    given = _parse("train", stage, ["--options", str(tmp_path / "o.yaml")])
    assert given["options"] == options
    assert given["systems"] == systems
    assert list(given["systems"]) == ["b", "a"]


def test_what_stands_on_the_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "o.yaml").write_text("steps: 7\nbatch: 3\nkeep_best: true\n")
    given = _parse("train", stage, ["--steps", "9", "--options", str(tmp_path / "o.yaml"), "--no-keep-best"])
    assert (given["options"].steps, given["options"].batch, given["options"].keep_best) == (9, 3, False)


@pytest.mark.parametrize(("text", "said"), [
    ("stesp: 7", "o.yaml: unknown option 'stesp' (did you mean 'steps'?)"),
    ("steps: many", "o.yaml: steps: Input should be a valid integer"),
    ("steps: -1", "o.yaml: steps: Input should be greater than or equal to"),
    ("target: nought", "o.yaml: target: Input should be"),
    ("out: elsewhere", "o.yaml: unknown option 'out'"),
    ("steps: 1\nsteps: 2", "steps"),
    ("- steps", "o.yaml: a mapping of keys is wanted"),
    ("steps: [", "o.yaml, line"),
])  # fmt: skip
def test_a_wrong_file_of_options_is_one_line_that_names_it(text, said, tmp_path):
    (tmp_path / "o.yaml").write_text(text + "\n")
    with pytest.raises(UserError) as error:
        _parse("train", stage, ["--options", str(tmp_path / "o.yaml")])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_options_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"--options: there is no 'nowhere.yaml'"):
        _parse("train", stage, ["--options", "nowhere.yaml"])


def test_the_configuration_file_holds_the_defaults():
    with open(Path(__file__).parents[2] / "config/config.yaml") as f:
        assert Config.load(yaml.safe_load(f)) == Config.load({})


def test_what_differs_in_a_system_stands_on_top_of_the_sections():
    letters = {"answer_form": "letter", "question_prompt": "{question}\n{options}"}
    run = Config.load({"answer": {"answer_batch": 8}, "systems": {
        "a": {"title": "A", "reading": letters, "answer": {"option_score": "mean"}}, "b": {"title": "B"}}})  # fmt: skip
    assert (run.reading_options("a").answer_form, run.reading_options("b").answer_form) == ("letter", "text")
    assert (run.answer_options("a").option_score, run.answer_options("b").option_score) == ("mean", "sum")
    assert run.answer_options("a").answer_batch == run.answer_options("b").answer_batch == 8


def test_an_endpoint_writes_and_needs_no_seed_and_its_settings_hold_no_key():
    run = Config.load({**GPT, "models": MODELS, "seeds": [3, 4], "systems": {
        "gpt4": {**ZERO, "train": {"passages": 0}}, "gpt4_rag": ZERO, "zero": {"title": "Z", "rounds": 0}, "rag": {"title": "R"}}})  # fmt: skip
    assert run.answer_options("gpt4").method == "generate"
    assert [run.seeds_of(s) for s in run.systems] == [[3], [3], [3], [3, 4]]
    assert "KEY" in str(run.endpoint("gpt"))
    assert run.endpoint("llm") is None
    assert Config.load({"seeds": [3, 4], "systems": {"zero": {"title": "Z", "rounds": 0}}}).seeds_of("zero") == [3, 4]


def test_the_models_behind_a_system_include_those_its_model_was_continued_from():
    more = {"b": {"pretrain": {"init": "model:llm"}}, "c": {"pretrain": {"init": "model:b"}}}
    run = Config.load({"models": {**MODELS, **more}, "systems": {"a": {"title": "A", "llm": "c"}}})
    assert run.models_of("a") == ["c", "retriever", "b", "llm"]


def test_an_endpoint_and_the_row_that_asks_it_may_have_one_name():
    run = Config.load({**GPT, "models": MODELS, "systems": {"gpt": ZERO, "jmlr": {"title": "J", "train": {"target": "pdist"}},
        "lent": {"title": "L", "retriever": "jmlr"}}})  # fmt: skip
    assert [run.models_of(name) for name in run.systems] == [["retriever"], ["llm", "retriever"], ["llm", "retriever"]]


CLOSED, ASKED = {"train": {"passages": 0}}, {"reading": {"question_prompt": "{question} {options}"}, "rounds": 0}


def with_notes(url: str, systems: dict, judge: dict | None = None, private: str = "corpora") -> Config:
    """Load a run whose private source is among its corpora or its questions, and whose endpoint has an address."""
    prepare = {"corpora": [{"source": "world"}], "questions": [{"source": "world"}], "documents": []}
    prepare[private] = [*prepare[private], {"source": "notes"}]
    sources = {"world": {"origin": "demo"}, "notes": {"origin": "local", "path": "x", "private": True}}
    fixed = {"report": {"examples": 0}, "sources": sources, "prepare": prepare, "models": MODELS, "judge": judge or {}}
    return Config.load({**fixed, "endpoints": {"gpt": {"base_url": url, "model": "m"}}, "systems": systems})


ROWS = {
    "gpt_rag": {"title": "G", "llm": "gpt", **ASKED},
    "gpt_closed": {"title": "C", "llm": "gpt", **ASKED, **CLOSED},
    "rag": {"title": "R"},
    "closed": {"title": "L", **CLOSED},
}


def test_a_report_of_private_texts_shows_no_examples():
    sources = {"world": {"origin": "demo"}, "notes": {"origin": "local", "path": "x", "private": True}}
    prepare = {"corpora": [{"source": "notes"}], "questions": [{"source": "world"}], "documents": []}
    with pytest.raises(ConfigError, match=r"report.examples: allowed: 0, since source 'notes' is private"):
        Config.load({"sources": sources, "report": {"examples": 1}, "prepare": prepare})


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1"])
@pytest.mark.parametrize("private", ["corpora", "questions"])
def test_private_texts_may_go_to_a_server_on_this_machine(url, private):
    assert with_notes(url, ROWS, {"judges": ["gpt"], "pairs": [["rag", "gpt_rag"]]}, private).systems


@pytest.mark.parametrize(
    ("rows", "pair", "private", "said"),
    [
        (["gpt_closed"], None, "corpora", None),
        (["gpt_rag"], None, "corpora", "systems.gpt_rag: endpoint 'gpt' at https://host/v1 would get texts of 'notes'"),
        (["gpt_closed"], None, "questions", r"'notes', which is private; allowed: a server on this machine"),
        (["closed", "gpt_closed"], ["closed", "gpt_closed"], "corpora", None),
        (
            ["closed", "rag"],
            ["closed", "rag"],
            "corpora",
            "judge.pairs: 'rag': endpoint 'gpt' at https://host/v1 would",
        ),
        (["closed", "gpt_closed"], ["closed", "gpt_closed"], "questions", "would get texts of 'notes'"),
    ],
)
def test_only_rows_and_judges_that_would_send_private_texts_away_are_refused(rows, pair, private, said):
    judge = {"judges": ["gpt"], "pairs": [pair]} if pair else {}
    systems = {name: ROWS[name] for name in rows}
    if said is None:
        assert with_notes("https://host/v1", systems, judge, private).systems
    else:
        with pytest.raises(ConfigError, match=said):
            with_notes("https://host/v1", systems, judge, private)


def test_a_judge_elsewhere_reads_nothing_of_a_model_that_was_pre_trained_on_private_texts():
    models = {**MODELS, "llm": {"pretrain": {"init": "org/llm", "reads": "passages"}}}
    notes = {"world": {"origin": "demo"}, "notes": {"origin": "local", "path": "x", "private": True}}
    run = {
        **GPT, "models": models, "sources": notes, "report": {"examples": 0}, "systems": {k: ROWS[k] for k in ("closed", "gpt_closed")},
        "prepare": {"corpora": [{"source": "notes"}]}, "judge": {"judges": ["gpt"], "pairs": [["gpt_closed", "closed"]]},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"judge.pairs: 'closed'"):
        Config.load(run)
    assert Config.load({**run, "models": MODELS}).systems


def test_only_sources_that_are_read_are_fetched():
    sources = {name: {"origin": "local", "path": name} for name in ("corpus", "words", "spare")} | {
        "world": {"origin": "demo"}
    }
    models = {**MODELS, "new": {"pretrain": {"tokenizer": "source:words/tokenizer.json"}}}
    run = Config.load({"sources": sources, "models": models, "prepare": {"corpora": [{"source": "corpus"}]}})
    assert list(run.sources_fetched()) == ["corpus", "world", "words"]


def test_documents_are_made_only_where_a_model_learns_from_them():
    """They are a second copy of the corpus; 'plain' is what a run with cards gets."""
    data = {
        "sources": {"mine": {"origin": "local", "path": "x"}, "more": {"origin": "local", "path": "y"}},
        "prepare": {
            "corpora": [{"source": "mine", "file": "p.jsonl"}],
            "questions": [{"source": "mine", "file": "q.jsonl"}],
            "documents": [{"plain": True}, {"source": "more", "file": "d.jsonl"}],
        },
        "models": {"llm": {"path": "a"}, "retriever": {"path": "b"}},
    }
    run = Config.load(data)
    assert run.prepared().documents == []
    assert run.sources_read() == ["mine"], "what nobody reads is not fetched"
    assert "documents: []" in values(run.prepared())
    for pretrain, reads in (({"reads": "passages", "init": "a"}, False), ({"init": "a"}, True)):
        run = Config.load({**data, "models": {**data["models"], "llm": {"pretrain": pretrain}}})
        assert (run.prepared().documents == run.prepare.documents) == reads
    assert Config.load({}).prepared() == Config.load({}).prepare


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": [0, 1, 0]}, "seeds: 0 stands there twice"),
        ({"systems": {}}, "systems"),
        ({"answer": {"splits": ["tset"]}}, "no question is of split 'tset' (did you mean 'test'?)"),
        (
            {"systems": {"a": {"title": "A", "answer": {"splits": ["dve"]}}}},
            "systems.a: answer.splits: no question is of split 'dve'",
        ),
        (
            {"prepare": {"decontaminate": {"splits": ["tset"]}}},
            "prepare.decontaminate.splits: no question is of split 'tset'",
        ),
        ({"search": {"candidates": 2}}, "train.passages is 3; allowed: at most search.candidates, 2"),
        ({"search": {"candidates": 5}}, "systems.jmlr: train.samples is 10; allowed: at most search.candidates, 5"),
        (
            {"train": {"shard_llm": True}, "reading": {"llm_precision": "4bit"}},
            "systems.closed_book: train.shard_llm with reading.llm_precision 4bit",
        ),
        (
            {"answer": {"shard_llm": True}, "reading": {"llm_precision": "4bit"}},
            "systems.closed_book: answer.shard_llm with reading.llm_precision 4bit",
        ),
        (
            {
                "endpoints": {"gpt": {"base_url": "http://localhost:1/v1", "model": "m"}},
                "systems": {"gpt": {"title": "A", "llm": "gpt", "rounds": 0, "answer": {"shard_llm": True}}},
                "reading": {"question_prompt": "{question} {options}"},
            },
            "systems.gpt.answer: an endpoint's model is not here to be cut; leave shard_llm out",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_runs(change, said):
    questions = [{"source": "world", "file": "questions.jsonl", "split": "hash"}]
    data = {**change, "prepare": {"questions": questions, **change.get("prepare", {})}}
    with pytest.raises(ConfigError) as error:
        Config.load(data)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_records_that_name_their_splits_may_have_any():
    own = {
        "sources": {"mine": {"path": "x"}},
        "prepare": {"corpora": [{"source": "mine"}], "questions": [{"source": "mine"}]},
    }
    assert Config.load({**own, "answer": {"splits": ["anything"]}}).answer.splits == ["anything"]


def test_the_demo_has_three_splits_and_no_other():
    with pytest.raises(ConfigError, match=r"no question is of split 'tset' \(did you mean 'test'\?\)"):
        Config.load({"answer": {"splits": ["tset"]}})


SWITCH = "bfloat16 for true, float32 for false"
QUERY = "of a passage; retriever_query_tokens, of a query"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("prepare.passage_words", "chunk_words"),
        ("prepare.overlap_words", "chunk_overlap_words"),
        ("prepare.passage_tokens", "chunk_tokens"),
        ("prepare.overlap_tokens", "chunk_overlap_tokens"),
        ("models.llm.pretrain.bf16", f"pretrain_precision, {SWITCH}"),
        ("retrieval.query_tokens", "retriever_query_tokens"),
        ("retrieval.passage_tokens", f"retriever_passage_tokens, {QUERY}"),
        ("encode.encode_bf16", f"encode_precision, {SWITCH}"),
        ("train.train_bf16", f"train_precision, {SWITCH}"),
        ("train.train_passage_tokens", "retriever_train_passage_tokens"),
        ("train.bf16", f"train_precision, {SWITCH}"),
        ("train.fp16", "train_precision, bfloat16 or float32, since nothing computes in float16"),
        ("encode.bf16", f"encode_precision, {SWITCH}"),
        ("reading.bf16", f"llm_precision, {SWITCH}"),
        ("reading.load_in_4bit", "llm_precision, 4bit for true"),
        ("retrieval.max_seq_length", f"retriever_passage_tokens, {QUERY}"),
    ],
)
def test_a_former_name_and_hugging_face_s_are_answered_with_today_s(key, said):
    data: Any = 1
    for part in reversed(key.split(".")):
        data = {part: data}
    with pytest.raises(ConfigError) as error:
        Config.load(data)
    assert f"unknown key '{key}' (here: {said})" in str(error.value)
    assert "\n" not in str(error.value)


TRAIN = "train --out o --prepared p --llm m --seed 0 --scratch s"
ENCODE = "encode --out o --prepared p --retriever r --part questions"


@pytest.mark.parametrize(
    ("line", "option", "said"),
    [
        (TRAIN, "--train-bf16", f"--train-precision, {SWITCH}"),
        (TRAIN, "--no-train-bf16", f"--train-precision, {SWITCH}"),
        (TRAIN, "--bf16", f"--train-precision, {SWITCH}"),
        (TRAIN, "--query-tokens", "--retriever-query-tokens"),
        (TRAIN, "--train-passage-tokens", "--retriever-train-passage-tokens"),
        (ENCODE, "--no-encode-bf16", f"--encode-precision, {SWITCH}"),
        ("prepare --out o --fetched f", "--passage-tokens", "--chunk-tokens"),
        ("pretrain --out o --prepared p --seed 0", "--no-bf16", f"--pretrain-precision, {SWITCH}"),
        ("export --out o", "--bf16", f"--llm-precision, {SWITCH}"),
    ],
)
def test_a_former_option_of_the_command_line_is_answered_with_today_s(line, option, said):
    command, *argv = line.split()
    function = getattr(importlib.import_module(f"jmlr.{home(command)}.{command}"), command)
    with pytest.raises(UserError) as error:
        _parse(command, function, [*argv, option])
    assert str(error.value) == f"unknown option {option} (here: {said})"


def test_what_a_synonym_stands_for_is_an_option_and_what_was_renamed_is_none():
    known = {name for model in vars(options).values() if hasattr(model, "model_fields") for name in model.model_fields}
    known |= set(Config.model_fields)
    names = [*SYNONYMS.items(), *FORMER.items()]
    assert [(theirs, ours) for theirs, there in names for ours in there if ours not in known] == []
    assert known & set(FORMER) == set()
