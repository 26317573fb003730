"""Options of `answer`, `evaluate` and `report`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from jmlr.options.base import Closed, Count, Positive, option
from jmlr.options.prompts import RATIONALE_PROMPT, unfilled


class AnswerOptions(Closed):
    """Options of `answer`."""

    splits: list[str] = option(lambda: ["test"], "splits whose questions are answered")
    option_score: Literal["sum", "mean"] = option(
        "sum", "an option's score: the sum or the mean of its tokens' log-probabilities"
    )
    answer_batch: Positive = option(32, "questions per batch, which are of like length")
    shard_llm: bool = option(
        False,
        "several ranks: each holds a part of the LLM's weights (FSDP2) instead of all of them, whatever `train.shard_llm` says; "
        "one process: nothing changes",
    )
    method: Literal["likelihood", "generate"] = option(
        "likelihood",
        "likelihood: the option whose text the LLM finds likeliest; generate: it writes, and we parse strictly",
    )
    generation_prompt: str = option(
        "Please only give the correct option. Correct Answer:", "generate: the last words of the prompt (the paper's)"
    )
    reply_tokens: Positive = option(16, "generate: most tokens of a reply without rationale")
    rationale: bool = option(False, "generate: think, then answer, citing passages as [P1]")
    rationale_prompt: str = option(RATIONALE_PROMPT, "rationale: the last words of the prompt")
    rationale_tokens: Positive = option(512, "rationale: most tokens of rationale and answer")
    chat: bool = option(False, "put the prompt into the tokenizer's chat template (instruction-tuned models)")
    chat_template_kwargs: dict[str, Any] = option(
        dict, "chat: what else the template is told, e.g. {enable_thinking: false}"
    )

    @model_validator(mode="after")
    def _rationale_is_written(self) -> AnswerOptions:
        if self.rationale and self.method != "generate":
            raise ValueError(f"rationale: it is written, so method: generate is wanted (given: {self.method})")
        if self.chat_template_kwargs and not self.chat:
            raise ValueError("chat_template_kwargs: there is no chat template without chat: true")
        return self

    @field_validator("generation_prompt", "rationale_prompt")
    @classmethod
    def _is_not_filled(cls, prompt: str) -> str:
        return unfilled(prompt)


class EvaluateOptions(Closed):
    """Options of `evaluate`."""

    retrieval_k: list[Positive] = option(
        lambda: [1, 3, 5, 10, 30], "cut-offs of hit@k, recall@k, nDCG@k and answer_hit@k"
    )
    bootstrap: Positive = option(2000, "bootstrap samples for the 95 % intervals")
    concepts: Annotated[str, Field(pattern=r"^([\w.]+:\w+)?$")] = option(
        "",
        "UMLS-F: your extractor of medical concepts as 'module:function' (docs/metrics.md); empty: an open vocabulary",
    )


class ReportOptions(Closed):
    """Options of `report`."""

    title: str = option("", "title of the report; empty: the run's name")
    remark: str = option("", "one paragraph that says what this run can and cannot show")
    command: str = option(
        "", "the command that makes the run, as the report shows it; empty: Snakemake's, with the files it was given"
    )
    examples: Count = option(
        3,
        "questions shown, with passages, that joint training changed; 0 where texts must not leave the corpus: then no "
        "question can be browsed either",
    )
    browse: bool = option(
        True, "every test question can be browsed in the page; never where a source of the run is private"
    )
    review: str = option("", "review.json of `jmlr review merge`, for the report to show; empty: nobody reviewed")
