"""What a training, or answering, takes of a GPU by its options, what would make it less, and its refusal before a model is loaded.

need = FineTuning(llm, None, TrainOptions(), ReadingOptions(), RetrievalOptions())
need.on_a_card(4).total, need.less(4)        # bytes of each of four cards; {"gradient_checkpointing": 3.1e10, ...}

What is certain (weights, gradients, moments) and does not fit is refused; an estimate with activations warns. Of answering, weights
alone are certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jmlr.models.flops import COLBERT, LONGEST, Shape
from jmlr.models.memory import OnCard, Training, answering
from jmlr.models.shapes import read_shape, shape_of
from jmlr.options import AnswerOptions, PretrainOptions, ReadingOptions, RetrievalOptions, TrainOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import warn
from jmlr.training.budget import GPU_TOKENS

if TYPE_CHECKING:
    import torch

MORE_CARDS = 4
OPTIONS = 4  # of a question, for what is estimated


@dataclass(frozen=True)
class FineTuning:
    """A round of `train`; `retriever`: that is trained beside the LLM, if one is."""

    llm: Shape
    retriever: Shape | None
    options: TrainOptions
    reading: ReadingOptions
    retrieval: RetrievalOptions

    @property
    def several(self) -> bool:
        """Whether several processes can share it."""
        return True

    @property
    def shard(self) -> bool:
        """Whether the LLM is cut over the cards."""
        return self.options.shard_llm

    def on_a_card(self, cards: int) -> OnCard:
        """Return the bytes of each of so many cards."""
        options, read = self.options, self.reading
        share = -(-options.batch // cards)  # questions of a rank, and of a pass
        share = min(share, options.micro_batch or share)
        longest = max(read.llm_tokens, min(options.forward_tokens or GPU_TOKENS, share * read.llm_tokens))
        half = options.train_precision == "bfloat16"
        llm = Training.of_adapter(
            self.llm, rank=options.lora_rank, precision=read.llm_precision, tokens=longest, half=half,
            predicted=max(1, longest // max(1, read.llm_passage_tokens)) * read.llm_answer_tokens,
            recompute=options.gradient_checkpointing, targets=options.lora_targets, modules=options.train_modules,
        ).on_a_card(cards, shard=self.shard)  # fmt: skip
        if self.retriever is None:
            return llm
        query, passage = self.retriever.lengths(
            self.retrieval.retriever_query_tokens,
            options.retriever_train_passage_tokens or self.retrieval.retriever_passage_tokens,
            1.0,
        )
        texts = 0 if options.keeps_passages else options.samples + 2  # of a question, with gradient
        retriever = Training.of_retriever(
            self.retriever, tokens=round(share * (query + texts * passage)), encoders=options.retriever_encoders,
            embeddings=options.retriever_weights == "embeddings", half=half,
        )  # fmt: skip
        return llm.beside(retriever.on_a_card(1, shard=False))

    def changes(self, cards: int) -> Iterator[tuple[str, int, FineTuning]]:
        """Yield (option, cards, this training with it) of all that may take less."""
        o, read = self.options, self.reading
        if not o.gradient_checkpointing:
            yield "gradient_checkpointing", cards, _with(self, gradient_checkpointing=True)
        if o.train_precision != "bfloat16":
            yield "train_precision bfloat16", cards, _with(self, train_precision="bfloat16")
        if (o.forward_tokens or GPU_TOKENS) > read.llm_tokens:
            yield f"forward_tokens {read.llm_tokens}", cards, _with(self, forward_tokens=read.llm_tokens)
        if read.llm_precision == "float32":
            yield "llm_precision bfloat16", cards, _reading_in(self, "bfloat16")
        if read.llm_precision != "4bit":
            yield from ((words, n, _with(self, shard_llm=True)) for words, n in more_cards(o.shard_llm, cards))
            if not o.shard_llm:
                yield "llm_precision 4bit", cards, _reading_in(self, "4bit")


@dataclass(frozen=True)
class Pretraining:
    """A model that `pretrain` makes."""

    model: Shape
    options: PretrainOptions

    @property
    def several(self) -> bool:
        """Whether several processes can share it; a retriever is made by one."""
        return self.options.objective == "causal"

    @property
    def shard(self) -> bool:
        """Whether it is cut over the cards."""
        return self.options.shard_llm and self.several

    def on_a_card(self, cards: int) -> OnCard:
        """Return the bytes of each of so many cards."""
        o, half = self.options, self.options.pretrain_precision == "bfloat16"
        if not self.several:  # a whole batch of pairs is one pass
            tokens = o.batch * (min(o.max_tokens, COLBERT[0]) if self.model.colbert_depth else o.max_tokens // 2)
            tokens += o.batch * min(o.max_tokens, LONGEST)
            return Training.of_retriever(self.model, tokens=tokens, half=half).on_a_card(1, shard=False)
        longest = max(o.max_tokens, min(GPU_TOKENS, -(-o.batch // cards) * o.max_tokens))
        muon = o.matrix_learning_rate > 0
        return Training.of_all(
            self.model, tokens=longest, recompute=o.gradient_checkpointing, half=half, muon=muon
        ).on_a_card(cards, shard=self.shard)

    def changes(self, cards: int) -> Iterator[tuple[str, int, Pretraining]]:
        """Yield (option, cards, this training with it) of all that may take less."""
        o, causal = self.options, self.several
        if causal and not o.gradient_checkpointing:
            yield "gradient_checkpointing", cards, _with(self, gradient_checkpointing=True)
        if o.pretrain_precision != "bfloat16":
            yield "pretrain_precision bfloat16", cards, _with(self, pretrain_precision="bfloat16")
        if causal and not o.matrix_learning_rate:
            yield from ((words, n, _with(self, shard_llm=True)) for words, n in more_cards(o.shard_llm, cards))
        if not causal:
            yield f"batch {max(1, o.batch // 2)}", cards, _with(self, batch=max(1, o.batch // 2))


@dataclass(frozen=True)
class Answering:
    """A model on this machine that answers; `adapter`: weights of the one that was trained, if one was; `passages`: that it reads."""

    llm: Shape
    options: AnswerOptions
    reading: ReadingOptions
    adapter: int = 0
    passages: int = 1 << 20

    @property
    def several(self) -> bool:
        """Whether several processes can share it."""
        return True

    @property
    def shard(self) -> bool:
        """Whether the LLM is cut over the cards."""
        return self.options.shard_llm

    def on_a_card(self, cards: int) -> OnCard:
        """Return the bytes of each of so many cards."""
        o, read = self.options, self.reading
        written = o.method == "generate"
        longest = self.passages * read.llm_passage_tokens + read.llm_question_tokens
        longest += (o.rationale_tokens if o.rationale else o.reply_tokens) if written else read.llm_answer_tokens
        longest = min(longest, read.llm_tokens)
        return answering(
            self.llm, precision=read.llm_precision, cards=cards if self.shard else 1, adapter=self.adapter,
            tokens=o.answer_batch * longest, copies=1 if written else OPTIONS,
            predicted=o.answer_batch * (1 if written else OPTIONS * read.llm_answer_tokens),
        )  # fmt: skip

    def changes(self, cards: int) -> Iterator[tuple[str, int, Answering]]:
        """Yield (option, cards, this answering with it) of all that may take less."""
        o, read = self.options, self.reading
        if o.answer_batch > 1:
            fewer = max(1, o.answer_batch // 4)
            yield f"answer_batch {fewer}", cards, _with(self, answer_batch=fewer)
        if read.llm_precision == "float32":
            yield "llm_precision bfloat16", cards, _reading_in(self, "bfloat16")
        if read.llm_precision != "4bit":
            yield from (
                (f"answer.{words}", n, _with(self, shard_llm=True)) for words, n in more_cards(self.shard, cards)
            )
            if not self.shard:
                yield "llm_precision 4bit", cards, _reading_in(self, "4bit")


Need = FineTuning | Pretraining | Answering
Kind = TypeVar("Kind", FineTuning, Pretraining, Answering)
Reader = TypeVar("Reader", FineTuning, Answering)


def _with(need: Kind, **options: Any) -> Kind:
    """Return a need with other options of its stage."""
    return replace(need, options=need.options.model_copy(update=options))


def _reading_in(need: Reader, precision: str) -> Reader:
    """Return a need whose LLM is held in another precision."""
    return replace(need, reading=need.reading.model_copy(update={"llm_precision": precision}))


def more_cards(shard: bool, cards: int) -> Iterator[tuple[str, int]]:
    """Yield (words, number) of ways to cut an LLM over cards: over those that there are, and over more."""
    if not shard and cards > 1:
        yield f"shard_llm over {cards} cards", cards
    more = 2 * cards if cards > 1 else MORE_CARDS
    yield f"shard_llm over {more} cards", more


def less(need: Need, cards: int, part: str = "total") -> dict[str, float]:
    """Return the bytes of a card with each option that makes them less, the least first; `part`: "total" or "certain"."""
    most = getattr(need.on_a_card(cards), part)
    found = {words: getattr(changed.on_a_card(n), part) for words, n, changed in need.changes(cards)}
    return dict(sorted(((k, v) for k, v in found.items() if v < most), key=lambda item: item[1]))


def advice(need: Need, cards: int, part: str = "total") -> str:
    """Return what would take less of a card, in words, with the GB that each alone would come to."""
    found = [f"{words} ({size / 1e9:.1f} GB)" for words, size in less(need, cards, part).items()]
    return ", ".join(found) or "a smaller model"


def too_large(need: Need, cards: int, card: float) -> str:
    """Return why a need can never fit a card of so many bytes, and what makes that less; "" where it may fit."""
    found = need.on_a_card(cards)
    if found.certain <= card:
        return ""
    held = "weights" if isinstance(need, Answering) else "weights, gradients and moments of AdamW"
    what = f"{held} are {found.certain / 1e9:.1f} GB, of {found.total / 1e9:.1f} in all"
    return f"{what}, and the GPU has {card / 1e9:.1f}; less: {advice(need, cards, 'certain')}"


def hold_against(need: Need, cards: int, card: float, name: str) -> None:
    """Hold a training against the card it is to compute on.

    Args:
        need: what it takes
        cards: that compute together
        card: bytes of each
        name: of the stage, for the message

    Raises:
        UserError: what is certain of it does not fit. Where the estimate alone does not, a warning is said.
    """
    if why := too_large(need, cards, card):
        raise UserError(f"{name}: {why}")
    found = need.on_a_card(cards)
    if not found.fits(card):
        warn(
            name,
            f"it may take {found.total / 1e9:.1f} GB of this GPU's {card / 1e9:.1f}; if it runs out of memory: {advice(need, cards)}",
        )


def check_fine_tuning(
    where: torch.device,
    llm: str,
    retriever: str | None,
    options: TrainOptions,
    reading: ReadingOptions,
    retrieval: RetrievalOptions,
) -> None:
    """Hold a training, before its models are loaded, against the GPU it is to compute on; nothing on a CPU.

    Args:
        where: the device
        llm: folder or hub name, and
        retriever: the same of the one that is trained, if one is; what cannot be read is left to the loading
        options: of the training
        reading: how the LLM reads
        retrieval: how the retriever reads

    Raises:
        UserError: as `hold_against` does.
    """
    shape = _known(llm) if where.type == "cuda" else None
    if shape is not None:
        beside = _known(retriever) if retriever else None
        _hold(FineTuning(shape, beside, options, reading, retrieval), where, "train")


def check_answering(
    where: torch.device, llm: str, options: AnswerOptions, reading: ReadingOptions, passages: int
) -> None:
    """Hold a model that answers from so many passages, before it is loaded, against the GPU it is to compute on; nothing on a CPU.

    Raises:
        UserError: as `hold_against` does.
    """
    if where.type == "cuda" and (shape := _known(llm)) is not None:
        _hold(Answering(shape, options, reading, passages=passages), where, "answer")


def check_pretraining(where: torch.device, options: PretrainOptions) -> None:
    """Hold a model that `pretrain` makes, before it is loaded or drawn, against the GPU it is to compute on; nothing on a CPU.

    Raises:
        UserError: as `hold_against` does.
    """
    if where.type != "cuda":
        return
    drawn = {"vocab_size": options.vocab_size, "colbert_depth": options.colbert_depth, **options.architecture}
    shape = _known(options.init) if options.init else read_shape(drawn)
    if shape is not None:
        _hold(Pretraining(shape, options), where, "pretrain")


def _hold(need: Need, where: torch.device, name: str) -> None:
    import torch

    from jmlr.runtime.distributed import current

    hold_against(need, current().size, float(torch.cuda.get_device_properties(where).total_memory), name)


def _known(path: str) -> Shape | None:
    try:
        return shape_of(path)
    except UserError:
        return None
