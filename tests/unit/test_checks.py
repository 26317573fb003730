"""What of a run cannot work is said before anything runs, in one line; a run of one's own works with its data alone named."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from jmlr.checks import check_cards, checked
from jmlr.commands.config import config as command
from jmlr.config import Config, ConfigError
from jmlr.runtime import preflight
from jmlr.runtime.errors import UserError
from jmlr.runtime.preflight import card_here

CORPUS, EXAM = {"source": "mine", "file": "*.md"}, {"source": "mine", "file": "exam.csv", "split": "hash"}
LLAMA = {"architecture": {"model_type": "llama"}}
CLOSED = {"title": "C", "train": {"passages": 0}}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine/deep").mkdir(parents=True)
    for name in ("deep/gout.md", "exam.csv", "words.json"):
        (tmp_path / "mine" / name).write_text("x")
    (tmp_path / "mine/empty.txt").write_text(" \n")
    (tmp_path / "mine/scan.pdf").write_text("x")
    (tmp_path / "mine/empty.txt.gz").write_bytes(gzip.compress(b"\n"))
    (tmp_path / "mine/broken.md.gz").write_bytes(gzip.compress(b"{}")[:10] + b"\xff" * 8)
    return tmp_path / "mine"


def run(mine: Path, **changes: Any) -> dict[str, Any]:
    """Return a run of one's own; changes lie over its keys, those of `prepare` one by one."""
    prepare = {"corpora": [CORPUS], "questions": [EXAM], **changes.pop("prepare", {})}
    return {"sources": {"mine": {"path": str(mine)}}, "prepare": prepare, **changes}


# ------------------------------------------------------------------------------------------------------ own data alone
def test_own_documents_and_questions_are_all_that_a_run_must_name(mine: Path) -> None:
    found = checked(run(mine))
    assert list(found.config.sources_fetched()) == ["mine"], "nothing of the demo's world"
    assert [m.pretrain.tokenizer for m in found.config.models.values() if m.pretrain] == ["", ""]
    assert found.config.prepared().documents == [], "no second copy of the passages: no model reads documents"
    assert list(found.config.systems) == ["closed_book", "rag", "jmlr"]
    assert found.sources == {"mine": str(mine)}


def test_passages_become_documents_only_where_a_model_is_pre_trained_on_documents(mine: Path) -> None:
    ready = {"llm": {"path": "org/llm"}, "retriever": {"path": "org/retriever"}}
    continued = {**ready, "llm": {"pretrain": {"init": "org/llm"}}}
    on_passages = {**ready, "llm": {"pretrain": {"init": "org/llm", "reads": "passages"}}}
    made = [Config.load(run(mine, models=m)).prepared().documents for m in (ready, continued, on_passages)]
    assert [[d.plain for d in documents] for documents in made] == [[], [True], []]
    cards = {"questions": [{"dataset": "medqa_usmle"}], "corpora": [{"corpus": "medrag_textbooks"}]}
    assert Config.load({"prepare": cards}).prepared().documents == []
    assert Config.load({}).prepared().documents[0].source == "world", "the demo has its own"


def test_a_closed_book_reads_nothing_and_searches_nothing(mine: Path) -> None:
    found = Config.load(run(mine, prepare={"corpora": []}, models={"llm": {"path": "org/llm"}}))
    assert list(found.systems) == ["closed_book"]
    assert found.prepared().documents == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prepare": {"corpora": []}}, "models: not given; a closed book .* give models.llm a path"),
        ({"prepare": {"corpora": []}, "models": {"llm": {"path": "org/llm"}}, "systems": {"r": {"title": "R"}}},
         "systems.r: it reads passages, and prepare.corpora is empty; allowed: train: {passages: 0"),
        ({"prepare": {"corpora": []}, "models": {"llm": {"pretrain": {"reads": "passages"}}}}, "models.llm: it is pre-trained on the passages"),
        ({"prepare": {"documents": []}, "models": {"llm": {"pretrain": {}}, "retriever": {"path": "org/r"}}},
         "models.llm: it is pre-trained on prepare.documents, of which there are none; allowed: `reads: passages`"),
        ({"models": {"llm": {"pretrain": {"tokenizer": "source:mien/t.json"}}, "retriever": {"path": "org/r"}}},
         "models.llm.pretrain.tokenizer 'source:mien/t.json': no such source or file .did you mean 'mine'"),
    ],
)  # fmt: skip
def test_what_a_run_needs_and_does_not_have_is_one_line(mine: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Config.load(run(mine, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["corpora", "questions"])
def test_own_sources_without_questions_or_corpora_say_which_is_missing(key: str) -> None:
    given = {"corpora": [CORPUS], "questions": [EXAM]}
    given.pop(key)
    with pytest.raises(ConfigError, match=f"prepare.{key}: not given; allowed: a list"):
        Config.load({"sources": {"mine": {"path": "x"}}, "prepare": given})


# ------------------------------------------------------------------------------------- what is not there, cannot be read
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": {"mine": {"path": "{mine}/nowhere"}}}, "sources.mine.path: there is no '.*nowhere'"),
        ({"sources": {"mine": {"path": "${{JMLR_UNSET}}/x"}}}, "sources.mine.path .*the environment variable JMLR_UNSET is not set"),
        ({"sources": {"mine": {"path": "{mine}", "files": ["*.md", "*.mdx"]}}}, r"sources.mine.files: no file of '.*' matches '\*.mdx'"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "*.dm"}]}}, r"prepare.corpora\[0\].file: no file '\*.dm' among 7 of source 'mine'"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "gout.md"}]}}, "no file 'gout.md' among 7 .*did you mean 'deep/gout.md'"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "empty.txt"}]}}, "prepare.corpora.*'empty.txt' of source 'mine': it is empty"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "empty.*"}]}}, "all 2 files that it takes are empty"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "broken*"}]}}, "'.*broken.md.gz' cannot be read: truncated, damaged or no gzip"),
        ({"prepare": {"corpora": [{**CORPUS, "file": "*.pdf"}]}}, r"prepare.corpora\[0\].file: 'scan.pdf': '.pdf' is not read: `pdftotext"),
        ({"sources": {"mine": {"origin": "url", "path": "https://host/a/scan.pdf"}}, "prepare": {"corpora": [{"source": "mine"}],
          "questions": [{"source": "mine", "split": "hash"}]}}, "'scan.pdf': '.pdf' is not read"),
        ({"prepare": {"questions": [{**EXAM, "file": "exam.cvs"}]}}, r"prepare.questions\[0\].file: no file 'exam.cvs'.*did you mean 'exam.csv'"),
        ({"prepare": {"questions": [{"source": "mine", "files": {"train": "exam.csv", "test": "t*.csv"}}]}},
         r"prepare.questions\[0\].files.test: no file 't\*.csv'"),
        ({"prepare": {"questions": [{**EXAM, "split_ids": {"test": "mine/ids.txt"}}]}}, r"split_ids.test: no file 'ids.txt'"),
        ({"prepare": {"documents": [{"source": "mine", "file": "d.jsonl"}]}, "models": {"llm": {"pretrain": LLAMA}, "retriever": {"path": "org/r"}}},
         r"prepare.documents\[0\].file: no file 'd.jsonl'"),
        ({"models": {"llm": {"path": "./llm"}, "retriever": {"path": "org/r"}}}, "models.llm.path: there is no './llm'"),
        ({"models": {"llm": {"path": "https://huggingface.co/org/llm"}, "retriever": {"path": "org/r"}}},
         "models.llm.path: there is no 'https://.*': a URL; allowed: a path on this machine, or a name on the hub, OWNER/NAME"),
        ({"models": {"llm": {"path": "org/llm-gguf/deep/a.gguf"}, "retriever": {"path": "org/r"}}},
         "models.llm.path: .*: a GGUF file is read from this machine; if it is on the hub: `hf download org/llm-gguf deep/a.gguf --local-dir models`"),
        ({"sources": {"mine": {"path": "https://host/notes.txt"}}}, "sources.mine.path: .*: a URL; allowed: a path on this machine, or origin: url"),
        ({"models": {"llm": {"pretrain": {**LLAMA, "reads": "passages", "tokenizer": "source:mine/t.json"}}, "retriever": {"path": "org/r"}}},
         "models.llm.pretrain.tokenizer: no file 't.json'"),
        ({"prepare": {"questions": [{**EXAM, "split": "test"}]}}, "no question is of split 'train', from which systems.closed_book learns"),
        ({"prepare": {"questions": [{**EXAM, "splits": ["train"]}]}}, "answer.splits: no question is of split 'test'"),
        ({"report": {"review": "review.json"}}, "report.review: there is no 'review.json'"),
    ],
)  # fmt: skip
def test_what_is_missing_or_is_never_read_is_one_line_before_anything_runs(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(run(mine, **changes)).replace("{mine}", str(mine)).replace("{{", "{").replace("}}", "}")
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        command(check=[tmp_path / "run.yaml"])
    assert str(caught.value).startswith(f"{tmp_path / 'run.yaml'}: ")
    assert "\n" not in str(caught.value)


def test_no_name_of_a_private_sources_files_is_told(mine: Path) -> None:
    (mine / "john_smith.md").write_text("x")
    sources = {"mine": {"path": str(mine), "private": True}}
    entry = {**CORPUS, "file": "john_smit.md"}
    with pytest.raises(UserError, match=r"no file 'john_smit.md'") as caught:
        checked({**run(mine, prepare={"corpora": [entry]}, report={"examples": 0}), "sources": sources})
    assert "john_smith" not in str(caught.value)


def test_jobs_of_a_run_do_not_look_into_the_data_again(mine: Path) -> None:
    empty = run(mine, prepare={"corpora": [{**CORPUS, "file": "empty.txt"}]})
    assert checked(empty, contents=False).sources == {"mine": str(mine)}


def test_a_pattern_may_take_members_of_an_archive_but_not_ids_or_a_tokenizer(mine: Path) -> None:
    inside = {"prepare": {"corpora": [{**CORPUS, "file": "books.zip/*.md"}]}}
    with pytest.raises(UserError, match=r"no file 'books\.zip/"):
        checked(run(mine, **inside))
    (mine / "books.zip").write_bytes(b"x")
    assert checked(run(mine, **inside)).config.prepare.corpora[0].file == "books.zip/*.md"
    with pytest.raises(UserError, match=r"split_ids\.test: no file 'ids\.txt'"):
        checked(run(mine, prepare={"questions": [{**EXAM, "split_ids": {"test": "mine/ids.txt"}}]}))


@pytest.mark.parametrize("name", ["gout{seed}.md", "{round}/gout.md", "a{1,2}.md", "{ x }.md", "a{x,y{2}}.md"])
def test_a_name_that_snakemake_takes_for_a_wildcard_is_one_line(mine: Path, tmp_path: Path, name: str) -> None:
    (mine / name).parent.mkdir(exist_ok=True)
    (mine / name).write_text("x")
    own = run(mine)
    with pytest.raises(
        UserError, match=r"sources\.mine\.path: '.*'?: Snakemake takes '\{.*' for a wildcard; rename it"
    ):
        checked(own)
    own["sources"]["mine"]["files"] = ["deep/*", "exam.csv"]
    assert checked(own).sources, "a file that is not taken is no input"
    own["sources"]["mine"] |= {"files": [], "private": True}
    with pytest.raises(UserError, match=r"\(private\): Snakemake takes \(private\) for a wildcard") as caught:
        checked({**own, "report": {"examples": 0}})
    assert name not in str(caught.value)
    ready = {"llm": {"path": str(mine)}, "retriever": {"path": "org/r"}}
    with pytest.raises(UserError, match=r"models\.llm\.path: .* for a wildcard"):
        checked({"models": ready})
    continued = {"llm": {"pretrain": {"init": str(mine)}}, "retriever": {"path": "org/r"}}
    with pytest.raises(UserError, match=r"models\.llm\.pretrain\.init: .* for a wildcard"):
        checked({"models": continued})
    with pytest.raises(UserError, match=r"report\.review: .* for a wildcard"):
        checked({"report": {"review": str(mine / name)}})


@pytest.mark.parametrize("name", ["{.md", "a}.md", "{}.md", "{a b}.md", "{a-b}.md"])
def test_other_braces_in_names_are_none_of_snakemakes(mine: Path, name: str) -> None:
    (mine / name).write_text("x")
    assert checked(run(mine)).sources == {"mine": str(mine)}


def test_all_models_and_tokenizers_that_a_run_does_not_make_are_asked_for(mine: Path) -> None:
    llm = {"pretrain": {**LLAMA, "reads": "passages", "tokenizer": "org/words"}}
    models = {"llm": llm, "retriever": {"pretrain": {"init": "org/r", "objective": "inverse_cloze"}}}
    found = checked(run(mine, models=models, prepare={"chunk_tokens": 9, "tokenizer": "org/counts"})).models
    assert found == {
        "models.llm.pretrain.tokenizer": "org/words",
        "models.retriever.pretrain.init": "org/r",
        "prepare.tokenizer": "org/counts",
    }
    assert checked(run(mine, models={"llm": {"path": "org/l"}, "retriever": {"path": "org/r"}})).models == {
        "models.llm.path": "org/l",
        "models.retriever.path": "org/r",
    }


# --------------------------------------------------------------------------------------------------------------- cards
def job(name: str, card_gb: Any, gpu: int = 1, **wildcards: str) -> Any:
    """Return a job as Snakemake has them."""
    return SimpleNamespace(
        name=name, resources={"card_gb": card_gb, "gpu": gpu}, wildcards=SimpleNamespace(**wildcards)
    )


def paper(**changes: Any) -> Any:
    models = {"llm": {"path": "meta-llama/Llama-2-70b-hf"}, "retriever": {"path": "bert-base-uncased"}}
    systems = {"closed": CLOSED}
    return checked({"models": models, "systems": systems, **changes}, contents=False)


def test_a_card_that_the_profile_names_and_that_cannot_hold_a_training_ends_the_run_before_its_first_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = {"system": "closed"}
    with pytest.raises(
        SystemExit, match=r"train: systems.closed: weights, .* the GPU has 141.0; less: .*4bit"
    ) as error:
        check_cards(paper(), [job("search", 80), job("train", 141, **train)], local=False)
    assert "\n" not in str(error.value)
    check_cards(paper(), [job("train", 300, **train), job("train", None, **train)], local=False)
    check_cards(paper(train={"shard_llm": True}), [job("train", 141, gpu=4, **train)], local=False)
    monkeypatch.setenv("JMLR_DEVICE", "cpu")
    check_cards(paper(), [job("train", 1, **train)], local=True)


def test_the_same_of_a_model_that_answers_which_several_cards_hold_where_it_is_cut() -> None:
    answer, half = {"system": "closed"}, {"reading": {"llm_precision": "bfloat16"}}
    with pytest.raises(
        SystemExit, match=r"answer: systems.closed.answer: weights are 13\d\.\d GB, .* the GPU has 80.0"
    ) as error:
        check_cards(paper(**half), [job("answer", 80, gpu=4, **answer)], local=False)
    assert "answer.shard_llm over 4 cards" in str(error.value)
    check_cards(paper(**half, answer={"shard_llm": True}), [job("answer", 80, gpu=4, **answer)], local=False)
    check_cards(paper(**half), [job("answer", 200, **answer)], local=False)


def test_the_driver_of_this_machine_is_asked_where_the_profile_names_no_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 24564\necho 81559\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda _: "2.8.0")
    train = job("train", None, gpu=0, system="closed")
    check_cards(paper(), [train], local=True)  # no GPU here
    monkeypatch.setattr(preflight, "gpus_here", lambda: 2)
    assert card_here() == 81559 * 2**20
    with pytest.raises(SystemExit, match=r"train: systems.closed: .* the GPU has 85.5"):
        check_cards(paper(), [train], local=True)
    check_cards(paper(), [train], local=False)
    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda _: "2.8.0+cpu")
    check_cards(paper(), [train], local=True)
    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda _: "2.8.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_cards(paper(), [train], local=True)


def test_the_same_of_models_that_the_run_makes_and_of_folders(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, '
        '"num_attention_heads": 32, "vocab_size": 32000}'
    )
    models = {
        "base": {"path": str(tmp_path)},
        "llm": {"pretrain": {"init": "model:base"}},
        "retriever": {"path": "unknown/retriever"},
    }
    run = paper(
        models=models, prepare={"corpora": [CORPUS], "questions": [EXAM]}, sources={"mine": {"path": str(tmp_path)}}
    )
    with pytest.raises(SystemExit, match=r"pretrain: models.llm: weights, gradients and moments of AdamW are 107.8 GB"):
        check_cards(run, [job("pretrain", 80, model="llm")], local=False)
    check_cards(run, [job("pretrain", 141, model="llm"), job("train", 141, system="closed")], local=False)
