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
        (OfflineModeIsEnabled("offline mode is enabled"), r"cannot be reached \(offline mode is enabled\)"),
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
