"""Options of `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from jmlr.options.base import Closed, Count, Positive, Rate, numeric, option
from jmlr.options.prompts import RATIONALE_PROMPT, unfilled
from jmlr.runtime.precision import Precision
from jmlr.runtime.variants import listed

if TYPE_CHECKING:
    Target = str
else:
    Target = Literal[("frozen", *listed("losses"))]


# Options of the retriever's training: a system whose retriever is frozen uses none of them.
OF_THE_RETRIEVER = (
    "teacher", "samples", "sampling", "sampling_temperature", "rank_weight", "target_temperature", "score_temperature", "retriever_encoders",
    "retriever_weights", "retriever_dropout", "retriever_train_passage_tokens", "prior_weight", "shuffle_losses",
    "rank_after_steps", "retriever_learning_rate", "retriever_clip_norm", "clip_together", "live_candidates",
)  # fmt: skip


class TrainOptions(Closed):
    """Options of `train`: one system's fine-tuning. The defaults suit a pretrained model; the paper's letters in brackets."""

    target: Target = option("frozen", "what the retriever learns from the LLM's losses")
    teacher: Literal["llm", "gold", "answer_text"] = option(
        "llm",
        "whose losses the retriever learns from; llm: the answer's after each passage; to see what limits it, 0 for a passage that is "
        "gold (gold) or holds the answer's words (answer_text) and 1 for another",
    )
    passages: Count = option(3, "passages given to the LLM (K); 0: closed book")
    samples: Positive = option(10, "passages the LLM reads one by one, for their losses (S)")
    sampling: Literal["softmax", "top"] = option("softmax", "how those S passages are chosen among the candidates")
    sampling_temperature: Annotated[float, Field(gt=0), numeric] = option(
        0.2, "of the sampling softmax over scores scaled to [-1, 1]; the paper: 1, which is nearly flat"
    )
    rank_weight: Rate = option(1.0, "weight of the retriever's loss (lambda)")
    target_temperature: Annotated[float, Field(gt=0), numeric] = option(
        0.5, "pdist: of the softmax over the LLM's losses"
    )
    score_temperature: Annotated[float, Field(gt=0), numeric] = option(
        0.1, "emdr2, pdist: of the softmax over the retriever's scores"
    )
    retriever_encoders: Literal["shared", "separate", "query_only"] = option(
        "shared",
        "shared: one encoder reads queries and passages; separate: one each, beginning as copies; query_only: only the "
        "queries' is trained, so that passages keep their vectors and their index",
    )
    retriever_weights: Literal["all", "embeddings"] = option(
        "all",
        "which of the retriever's weights are trained; embeddings: those of words, positions and types and their norm, as in the "
        "released code",
    )
    retriever_dropout: Annotated[float, Field(ge=0, lt=1), numeric] = option(
        0.0, "in the retriever while it is trained; the released code: 0.1"
    )
    retriever_train_passage_tokens: Count = option(
        0, "most tokens of a passage that the retriever encodes in training; 0: as many as in the index"
    )
    prior_weight: Rate = option(
        0.0, "nats that a unit of the index's score is worth to a passage, beside the LLM's loss"
    )
    shuffle_losses: bool = option(
        False, "a control: the LLM's losses are shuffled among a question's passages, so that they say nothing of them"
    )
    passage_order: Literal["best_last", "best_first", "shuffled"] = option(
        "shuffled", "order of the K passages in the prompt while training; the paper: best_last"
    )
    rationale: bool = option(
        False,
        "where a question has an explanation the LLM learns to write it, and then the answer; what a passage is worth stays the loss "
        "of the answer alone",
    )
    rationale_prompt: str = option(RATIONALE_PROMPT, "rationale: the last words of the prompt, as in answer")
    rationale_tokens: Positive = option(256, "rationale: most tokens of an explanation that are learned")
    rank_after_steps: Count = option(0, "steps with the LM loss alone before the retriever's loss sets in")
    steps: Count | None = option(
        None, "optimiser steps, over all rounds; none given: as `epochs` says; 0: the LLM stays as it is (a control)"
    )
    epochs: Annotated[float, Field(gt=0), numeric] = option(
        3.0, "passes over the training questions, over all rounds, where `steps` is not given"
    )
    batch: Positive = option(8, "questions per optimiser step (B)")
    micro_batch: Count = option(0, "questions per forward pass; 0: the whole batch")
    forward_tokens: Count = option(
        0,
        "most tokens, padding included, in one forward pass of a model; the rest of a batch follows in further passes; 0: by "
        "the device, 2,048 on a CPU and 16,384 on a GPU",
    )
    llm_learning_rate: Rate = option(1e-4, "of the adapter")
    retriever_learning_rate: Rate = option(2e-5, "of the retriever; a pretrained one bears 1e-5 to 5e-5")
    weight_decay: Rate = option(0.0, "of AdamW, on matrices only")
    warmup_steps: Count | None = option(
        None,
        "linear warm-up of each round; then linear decay to `learning_rate_end` at the last step of the last round; none given: a "
        "tenth of the round's steps, at most 100",
    )
    learning_rate_end: Annotated[float, Field(ge=0, le=1), numeric] = option(
        0.1, "share of the peak rates that the decay ends at; Hugging Face's linear schedule: 0"
    )
    llm_clip_norm: Rate = option(1.0, "largest gradient norm of the LLM; 0: no clipping")
    retriever_clip_norm: Rate = option(0.0, "largest gradient norm of the retriever; 0: no clipping")
    clip_together: bool = option(
        False, "llm_clip_norm is of the gradients of both models together, as where one model holds both"
    )
    lora_rank: Positive = option(8, "of the LoRA adapter")
    lora_alpha: Positive = option(16, "of the LoRA adapter")
    lora_dropout: Annotated[float, Field(ge=0, lt=1), numeric] = option(0.0, "of the LoRA adapter")
    lora_targets: list[str] = option(
        lambda: ["all-linear"], "modules that get an adapter; ['all-linear']: every linear layer but the head"
    )
    train_modules: list[str] = option(list, "modules trained in full beside the adapter, e.g. embed_tokens, norm")
    train_precision: Precision = option(
        "bfloat16", "number format to compute in; bfloat16: where the hardware has it, else float32"
    )
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass: less memory, more time")
    shard_llm: bool = option(
        False,
        "several ranks: each holds a part of the LLM's weights, gradients and moments (FSDP2) instead of all of them; one "
        "process: nothing changes",
    )
    live_candidates: bool = option(
        False,
        "search the round's index anew with the retriever as it is in each step, instead of the round's candidates",
    )
    keep_best: bool = option(
        True,
        "the round whose retriever is best on the dev split answers: by gold passages in the first place, else by the answer's "
        "words in them; of equals the later; false: the last round",
    )
    wandb: str = option("", "project of Weights & Biases to send the figures to; empty: nothing is sent")
    mlflow: str = option("", "experiment of MLflow to send the figures to; empty: nothing is sent")
    checkpoint_min: Annotated[float, Field(gt=0), numeric] = option(10.0, "minutes between saves of the training state")

    @model_validator(mode="after")
    def _prior_stays(self) -> TrainOptions:
        if self.live_candidates and self.prior_weight:
            raise ValueError(
                "live_candidates with prior_weight: the prior is the score of the round's index, which live candidates do not "
                "keep; set one of the two to 0 or false"
            )
        return self

    @field_validator("rationale_prompt")
    @classmethod
    def _is_not_filled(cls, prompt: str) -> str:
        return unfilled(prompt)

    @property
    def used(self) -> TrainOptions:
        """These options, with those at their defaults that this training does not use: a change of them reruns nothing."""
        names = () if self.joint else OF_THE_RETRIEVER
        defaults = TrainOptions()
        return self.model_copy(update={name: getattr(defaults, name) for name in names})

    @property
    def joint(self) -> bool:
        """Whether the retriever is trained, too."""
        return self.target != "frozen"

    @property
    def weighed_by(self) -> str:
        """What tells the retriever a passage's worth, in words."""
        words = {"llm": "the LLM's loss", "gold": "gold labels", "answer_text": "the answer's words"}
        return f"{words[self.teacher]} ({self.target})"

    @property
    def keeps_passages(self) -> bool:
        """Whether the retriever is trained and its passages keep their vectors and their index."""
        return self.joint and self.retriever_encoders == "query_only"
