"""A model that cannot be loaded is one line that says what to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from huggingface_hub.errors import GatedRepoError

from jmlr.models.load import pretrained
from jmlr.runtime.errors import UserError

HUB = (
    "403 Client Error.\n\nCannot access gated repo for url https://huggingface.co/some/llm/resolve/main/config.json.\n"
    "Access to model some/llm is restricted and you are not in the authorized list."
)


def loader(error: Exception) -> type:
    class Loader:
        @staticmethod
        def from_pretrained(path: str, **settings: object) -> None:
            raise error

    return Loader


@pytest.mark.parametrize(
    "error",
    [
        OSError(
            "You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/some/llm.\n"
            + HUB
        ),
        GatedRepoError(HUB, response=SimpleNamespace(headers={}, request=None)),  # type: ignore[arg-type]
    ],
    ids=["transformers", "huggingface_hub"],
)
def test_a_licence_gated_model_names_the_page_and_the_token(error):
    with pytest.raises(UserError) as caught:
        pretrained(loader(error), "some/llm", "language model")
    assert str(caught.value) == (
        "language model 'some/llm' is licence-gated: accept its licence at https://huggingface.co/some/llm, "
        "then `hf auth login` or set HF_TOKEN, and run again"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("some/aggregated is no model\nand more"), "cannot be loaded: some/aggregated is no model"),
        (ValueError(), "cannot be loaded: ValueError"),
    ],
)
def test_another_model_that_cannot_be_loaded_is_one_line(error, said):
    with pytest.raises(UserError) as caught:
        pretrained(loader(error), "some/aggregated", "retriever")
    assert str(caught.value) == f"retriever 'some/aggregated' {said}"
