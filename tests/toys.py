"""Options with the demo's toy values, which suit the tiny models that tests make; the defaults suit pretrained ones."""

from __future__ import annotations

from typing import Any

from jmlr.config import Config
from jmlr.options import PromptOptions, ReadingOptions, RetrievalOptions, TrainOptions

DEMO = Config.load({})
PROMPTS = PromptOptions(**DEMO.reading.model_dump(include=set(PromptOptions.model_fields)))


def toy_training(**changes: Any) -> TrainOptions:
    return TrainOptions(**{**DEMO.train.model_dump(), **changes})


def toy_reading(**changes: Any) -> ReadingOptions:
    return ReadingOptions(**{**DEMO.reading.model_dump(), **changes})


def toy_retrieval(**changes: Any) -> RetrievalOptions:
    return RetrievalOptions(**{**DEMO.retrieval.model_dump(), **changes})
