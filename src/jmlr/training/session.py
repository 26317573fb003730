"""Everything one training holds: models, data, optimiser, options. `jmlr.training.loop` trains it; saved as exports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jmlr.corpus.prompt import Prompter
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.inference.passage_vectors import PassageVectors
from jmlr.inference.questions import Passages, Question, read_questions
from jmlr.inference.reading_check import check_reading, report
from jmlr.models.adapter import fuse_lora
from jmlr.models.llm import add_adapter, check_context, load_adapter, load_llm, recompute, save_adapter
from jmlr.models.retriever import Retriever, load_retriever, ready_to_train
from jmlr.models.sharded import gathered, is_sharded, shard
from jmlr.models.vocabulary import LOOKED_AT, foreign
from jmlr.options import ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.options.fits import check_shared
from jmlr.runtime import devices
from jmlr.runtime.distributed import current
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say, warn
from jmlr.runtime.seeds import seed_torch
from jmlr.training.budget import forward_tokens
from jmlr.training.live import LiveCandidates
from jmlr.training.on_card import check_fine_tuning
from jmlr.training.optimiser import Group, make_optimiser
from jmlr.training.step import StepSettings
from jmlr.training.teachers import check_teacher


@dataclass
class Session:
    """What is trained, on what, and how: see `open`."""

    llm: nn.Module
    retriever: Retriever | None
    passages: Passages
    questions: Sequence[Question]
    optimiser: torch.optim.Optimizer
    groups: list[Group]
    options: TrainOptions
    reading: ReadingOptions
    seed: int
    live: LiveCandidates | None = None

    @classmethod
    def open(
        cls,
        *,
        prepared: Path,
        llm: str,
        retriever: str | None,
        candidates: Path | None,
        previous: Path | None,
        vectors: Sequence[Path] = (),
        index: Path | None = None,
        seed: int,
        options: TrainOptions,
        reading: ReadingOptions,
        retrieval: RetrievalOptions,
    ) -> Session:
        """Load models and data. `retriever` None means frozen: it is not loaded, the candidates' order stands.

        vectors: folders of the passages' vectors, in order, where their encoder is not trained; none: passages are encoded.
        """
        where = devices.device()
        check_fine_tuning(where, llm, retriever, options, reading, retrieval)
        model, tokenizer = adapted_llm(llm, previous, where, seed, options, reading)
        encoders = options.retriever_encoders
        trained = load_retriever(retriever, encoders=encoders, **retrieval.lengths).to(where) if retriever else None
        if trained is not None:
            ready_to_train(trained, options.retriever_weights, options.retriever_dropout)
        prompter = Prompter(tokenizer, **reading.model_dump(exclude={"llm_precision"}))
        table = StoredPassages.open(prepared)
        kept = None
        if vectors and trained is not None:
            kept = PassageVectors.open(vectors, len(table), trained.depth, tokens=trained.tokens)
        encoded = options.retriever_train_passage_tokens or retrieval.retriever_passage_tokens
        passages = Passages(table, prompter, trained, encoded, kept)
        questions = read_questions(
            prepared,
            candidates,
            prompter,
            trained,
            split="train",
            query_options=retrieval.query_options,
            retriever_query_tokens=retrieval.retriever_query_tokens,
            rationale=(options.rationale_prompt, options.rationale_tokens) if options.rationale else None,
        )
        if trained is not None:
            check_teacher(questions, options.teacher)
        options = options.model_copy(update={"forward_tokens": forward_tokens(options, where.type)})
        optimiser, groups = make_optimiser(
            model, trained, llm_learning_rate=options.llm_learning_rate,
            retriever_learning_rate=options.retriever_learning_rate, weight_decay=options.weight_decay,
        )  # fmt: skip
        live = None
        if index is not None and trained is not None:
            live = LiveCandidates.open(index, max(len(q.candidates) for q in questions), trained, len(table))
        return cls(model, trained, passages, questions, optimiser, groups, options, reading, seed, live)

    @property
    def step_settings(self) -> StepSettings:
        """The options that the joint step needs."""
        return StepSettings.of({**dict(self.options), **dict(self.reading)})

    def tell(self) -> None:
        """Say what is trained, and warn where the LLM's tokenizer knows few of the passages' words."""
        say("\n".join(map(str, self.groups)))
        table = self.passages.table
        assert table is not None
        texts = [text for (text,) in table.run(0, min(LOOKED_AT, len(table)), ("text",))]
        if wrong := foreign(self.passages.prompter.tokenizer, texts, "the LLM"):
            warn("train", wrong)

    def check_reading(self, name: str) -> dict[str, Any] | None:
        """Measure and say whether the LLM reads its passages, and so whether joint training can work; None where none is planned."""
        if self.retriever is None:
            return None
        found = check_reading(self.llm, self.passages, self.questions, seed=self.seed, **self.step_settings.computing)
        report(found, name)
        return {**vars(found), "works": found.works} if found else None

    def save(self, folder: Path, history: Sequence[dict[str, Any]], round: int) -> None:
        """Write the adapter, the retriever if it was trained, and the figures of every step, one JSON object a line.

        Every rank must call it: the first writes, the others have parts of a sharded LLM.
        """
        tensors = gathered(self.llm, trained=True) if is_sharded(self.llm) else None
        if current().rank:
            return
        save_adapter(self.llm, folder / "adapter", tensors)
        if self.retriever is not None:
            self.retriever.save(folder / "retriever")
        lines = [json.dumps({"round": round, **record}) for record in history]
        (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def adapted_llm(
    llm: str, previous: Path | None, where: torch.device, seed: int, options: TrainOptions, reading: ReadingOptions
) -> tuple[Any, Any]:
    """Load the base model with a fresh adapter, or with that of the round before; return it and its tokenizer."""
    try:
        check_shared(options.shard_llm, reading.llm_precision, "train")
    except ValueError as error:
        raise UserError(str(error)) from None
    cut = options.shard_llm and current().size > 1
    model, tokenizer = load_llm(llm, precision=reading.llm_precision, where=torch.device("cpu") if cut else where)
    check_context(model.config, reading.llm_tokens, llm)
    half = reading.llm_precision == "bfloat16"
    if half and options.train_modules and not (options.train_precision == "bfloat16" and devices.has_bf16(where)):
        raise UserError(
            "train_modules with llm_precision bfloat16 need train_precision bfloat16, and hardware that has bfloat16: these modules "
            "are held in float32, the others are not"
        )
    seed_torch(seed, "adapter")
    if previous is not None:
        model = load_adapter(model, previous / "adapter", trainable=True)
    else:
        model = add_adapter(
            model, rank=options.lora_rank, alpha=options.lora_alpha, dropout=options.lora_dropout,
            targets=options.lora_targets, modules=options.train_modules,
        )  # fmt: skip
    fuse_lora(model)
    if options.gradient_checkpointing:
        recompute(model)
        model.enable_input_require_grads()
    if cut:
        shard(model, where)
    return model, tokenizer
