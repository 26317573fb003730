"""Which edition of a published set a source holds is known by its files or said; what is wrong in a card names the card's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jmlr.config import Config, ConfigError

EDITIONS = [
    (["train.jsonl", "validation.jsonl"], {}, "from_0"),
    (["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"], {}, "from_0"),
    (["train.json", "dev.json", "test.json"], {}, "from_1"),
    (["medmcqa_dev.json.gz"], {"splits": ["test"]}, "from_1"),
    (["validation.jsonl.gz"], {"splits": ["test"]}, "from_0"),
    (["mine.json"], {"files": {"test": "mine.json"}, "edition": "authors"}, "from_1"),
    (["mine.json"], {"files": {"test": "mine.json"}}, "none fits the 1 file of its source; there are: hub .*validation.jsonl"),
    (["train.jsonl"], {"splits": ["train"]}, "hub and authors all fit of its source"),
    (["dev.json", "validation.jsonl"], {"splits": ["test"]}, "hub and authors all fit"),
    ([], {"edition": "hbu"}, "'hbu'; allowed: hub, hub_parquet, authors"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "entry", "found"), EDITIONS)
def test_the_names_of_its_files_tell_which_edition_a_local_copy_is(
    tmp_path: Path, files: list[str], entry: dict[str, Any], found: str
) -> None:
    """MedMCQA's key counts from 0 on the hub and from 1 in the authors' files: read by the wrong rules, all keys are wrong."""
    for file in files:
        (tmp_path / "raw" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / file).write_text("x")
    run = {"sources": {"medmcqa": {"path": str(tmp_path / "raw")}, "one": {"path": "x"}}}
    run["prepare"] = {"questions": [{"dataset": "medmcqa", **entry}], "corpora": [{"source": "one"}]}
    if found.startswith("from_"):
        assert Config.load(run).prepare.questions[0].answer_index == found
        return
    with pytest.raises(ConfigError, match=f"card '.*config/datasets/medmcqa.yaml': edition.*{found}") as caught:
        Config.load(run)
    assert "\n" not in str(caught.value)


def test_an_edition_is_not_guessed_where_the_files_cannot_be_seen(tmp_path: Path) -> None:
    sources = {"medmcqa": {"path": str(tmp_path / "nowhere")}, "one": {"path": "x"}}
    with pytest.raises(ConfigError, match=r"there is no '.*nowhere'; its files tell which edition it is"):
        Config.load(
            {"sources": sources, "prepare": {"questions": [{"dataset": "medmcqa"}], "corpora": [{"source": "one"}]}}
        )


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"about": {"title": "M"}, "enrty": {}}, "unknown key 'enrty' .did you mean 'entry'"),
        ({"about": {"titel": "M"}}, "unknown key 'about.titel' .did you mean 'title'"),
        ({"about": {"title": "M"}, "entry": {"spilt": "test"}}, "entry: unknown key 'spilt' .did you mean 'split'"),
        ({"about": {"title": "M"}, "entry": {"counts": {"test": "many"}}}, "entry: counts.test: .*valid integer"),
        ({"about": {"title": "M"}, "sources": {"mine": {"pathh": "x"}}}, "unknown key 'sources.mine.pathh' .did you mean 'path'"),
        ({"about": {"title": "M"}, "editions": {"a": {"file": "*.a"}, "b": {"flie": "*.b"}}}, "editions.b: unknown key 'flie'"),
        ([1], "is no card; allowed: the mappings about, sources, entry, editions"),
    ],
)  # fmt: skip
def test_a_typing_error_in_a_card_names_the_cards_file(tmp_path: Path, card: Any, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(card))
    run = {"questions": [{"dataset": str(tmp_path / "mine.yaml")}], "corpora": [{"source": "one"}]}
    with pytest.raises(ConfigError, match=f"{tmp_path}/mine.yaml'.*{said}") as caught:
        Config.load({"sources": {"one": {"path": "x"}}, "prepare": run})
    assert "\n" not in str(caught.value)


def test_a_card_whose_sources_have_other_names_than_its_file_says_so(tmp_path: Path) -> None:
    card = {"about": {"title": "M"}, "sources": {"medmcqa": {"path": "x"}}, "entry": {"split": "test"}}
    (tmp_path / "k3.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(ConfigError, match="its sources are medmcqa; allowed: name one of them 'k3'"):
        Config.load({"prepare": {"questions": [{"dataset": str(tmp_path / "k3.yaml")}], "corpora": []}})


def test_a_key_twice_in_a_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_text("about: {title: M}\nentry:\n  unusable: drop\n  unusable: error\n")
    run = {"questions": [{"dataset": str(tmp_path / "k.yaml")}], "corpora": []}
    with pytest.raises(ConfigError, match=r"k.yaml', line 4: 'unusable' stands in line 3 already"):
        Config.load({"sources": {"k": {"path": "x"}}, "prepare": run})


def test_a_split_that_no_edition_of_a_card_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text("{}")
    run = {"questions": [{"dataset": "medmcqa", "splits": ["tset"]}], "corpora": []}
    with pytest.raises(ConfigError, match=r"no edition has the split 'tset' \(did you mean 'test'\?\)"):
        Config.load({"sources": {"medmcqa": {"path": str(tmp_path)}}, "prepare": run})
