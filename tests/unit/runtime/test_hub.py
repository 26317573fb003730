"""A model of the hub that cannot be had is told when a run begins, not by a job hours later."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

from jmlr.runtime.errors import UserError
from jmlr.runtime.hub import check_hub

NAME = {"models.llm.path": "owner/model"}


@pytest.fixture
def hub(monkeypatch):
    """Return what the hub is asked, with an empty cache; `answer` is what it says."""
    asked = []

    def answers(answer):
        def file_exists(name, file):
            asked.append((name, file))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(huggingface_hub, "file_exists", file_exists)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
        return asked

    return answers


def gated():
    error = GatedRepoError.__new__(GatedRepoError)
    Exception.__init__(error, "Access to model owner/model is restricted")
    return error


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (False, "the hub does not have it"),
        (gated(), "who accepted its terms; set HF_TOKEN"),
        (
            OfflineModeIsEnabled("offline mode is enabled"),
            "HF_HUB_OFFLINE is set, and the local cache does not have it; unset it, or fetch the model first: hf download owner/model",
        ),
        (RuntimeError("word " * 90), r"cannot be reached \((word )+\.\.\.\), and the local cache does not have it"),
        (RuntimeError(), r"cannot be reached \(RuntimeError\)"),
        (
            RuntimeError("[Errno -2] Name or service\nnot known"),
            r"cannot be reached \(\[Errno -2\] Name or service not known\)",
        ),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line_with_its_key(hub, answer, said):
    hub(answer)
    with pytest.raises(UserError, match=rf"config: models\.llm\.path 'owner/model': .*{said}.*; allowed: ") as caught:
        check_hub(NAME, {"train"})
    assert "\n" not in str(caught.value)


def test_a_name_of_another_form_is_told_without_a_request():
    with pytest.raises(UserError, match="neither a folder nor a name of the hub's form"):
        check_hub({"models.llm.path": "my model/of today"}, {"encode"})


def test_the_hub_is_asked_once_for_what_is_not_here(hub, tmp_path):
    asked = hub(True)
    check_hub({**NAME, "models.minilm.path": str(tmp_path)}, {"train", "encode"})
    assert asked == [("owner/model", "config.json")]


def test_nothing_is_asked_where_no_job_loads_a_model(hub):
    asked = hub(False)
    check_hub(NAME, {"evaluate", "report"})
    assert asked == []


def test_a_model_in_the_cache_needs_no_hub(hub, monkeypatch):
    asked = hub(False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: "config.json")
    check_hub(NAME, {"train"})
    assert asked == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_HOME", "{file}", "HF_HOME '{file}': '{file}' is a file; allowed: a folder, or not set"),
        ("HF_HOME", "{file}/deep", "HF_HOME '{file}/deep': '{file}' is a file"),
        ("HF_HUB_CACHE", "{file}", "HF_HUB_CACHE '{file}': '{file}' is a file"),
        ("HF_ENDPOINT", "hub.host", "HF_ENDPOINT 'hub.host': no URL; allowed: https://HOST, or not set"),
        ("HF_ENDPOINT", "https://", "HF_ENDPOINT 'https://': no URL"),
        ("HF_ENDPOINT", "http://[x", "HF_ENDPOINT 'http://[x': no URL"),
    ],
)
def test_a_variable_that_is_wrong_is_named_and_not_the_hub(hub, monkeypatch, tmp_path, variable, value, said):
    asked = hub(True)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv(variable, value.replace("{file}", str(tmp_path / "file")))
    with pytest.raises(UserError) as caught:
        check_hub(NAME, {"train"})
    assert str(caught.value).startswith(said.replace("{file}", str(tmp_path / "file")))
    assert asked == []
    check_hub({"models.llm.path": str(tmp_path)}, {"train"})


@pytest.mark.parametrize(
    ("key", "stage", "files"),
    [
        ("prepare.tokenizer", "prepare", ["tokenizer.json"]),
        ("models.llm.pretrain.tokenizer", "pretrain", ["tokenizer.json", "tokenizer_config.json", "config.json", "modules.json"]),
    ],
)  # fmt: skip
def test_a_tokenizer_is_asked_for_by_its_own_files_where_its_stage_has_jobs(hub, key, stage, files):
    asked = hub(False)
    check_hub({key: "owner/words"}, {"train"})
    assert asked == []
    with pytest.raises(UserError, match=f"config: {key} 'owner/words': the hub does not have it, or no tokenizer.json"):
        check_hub({key: "owner/words"}, {stage})
    assert asked == [("owner/words", file) for file in files]
