import shlex
from pathlib import Path

import pytest
import yaml

from jmlr.__main__ import _parse
from jmlr.config import Config, ConfigError, flags
from jmlr.options import TrainOptions


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"trian": {}}, "unknown key 'trian' (did you mean 'train'?)"),
        ({"train": {"stepz": 3}}, "unknown key 'train.stepz' (did you mean 'steps'?)"),
        ({"train": {"steps": "many"}}, "train.steps: Input should be a valid integer"),
        ({"systems": {"a": {"title": "A", "train": {"target": "x"}}}}, "systems.a.train: target"),
        ({"systems": {"a": {"title": "A", "llm": "lm"}}}, "systems.a: no model 'lm' (did you mean 'llm'?)"),
        (
            {
                "systems": {"a": {"title": "A"}, "b": {"title": "B", "retriever": "a"}}
            },  # a's stays as it is: nothing to lend
            "systems.b: no model 'a'",
        ),
        ({"prepare": {"corpora": [{"source": "wrld"}]}}, "no source 'wrld' (did you mean 'world'?)"),
        ({"models": {"llm": {}}}, "give either 'path' or 'pretrain'"),
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
    with pytest.raises(ConfigError, match=r"systems.b: no model 'a'"):
        Config.load({"systems": {"a": joint, "b": {**joint, "retriever": "a"}}})


def test_flags_written_for_a_shell_parse_back_to_the_same_options():
    def stage(options: TrainOptions) -> None:
        """Stand in for a stage."""

    options = TrainOptions(target="pdist", lora_targets=["q_proj", "it's"], train_bf16=True, rank_weight=0.25)
    assert _parse("train", stage, shlex.split(flags(options)))["options"] == options


def test_the_configuration_file_holds_the_defaults():
    with open(Path(__file__).parents[2] / "config/config.yaml") as f:
        assert Config.load(yaml.safe_load(f)) == Config()
