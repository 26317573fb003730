"""How many bytes of a card a model takes while it is trained or answers, from its shape alone; an LLM whole or cut over several cards.

>>> llama = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
>>> paper = Training.of_adapter(Shape.of(llama), rank=128, precision="bfloat16", tokens=16384, predicted=64, recompute=True)
>>> [round(paper.on_a_card(cards, shard=True).total / 1e9) for cards in (1, 4, 8)]
[26, 13, 11]

An estimate, and no bound: what a library keeps for itself, and memory in pieces too small to use, come on top (FREE).
Counted are

* weights; gradients and AdamW's two moments of what is trained, in float32;
* what a cut model puts together at a time: two layers, the embedding and the head; casts that autocast and autograd keep;
* activations of one forward pass: those of a layer, and its inputs alone where activations are recomputed;
* logits where tokens are predicted, with their gradient. Attention scores are never held whole;
* the same of a retriever that is trained beside it (`beside`), which is whole on every card;
* of a model that answers: weights, keys and values of all that was read, activations of one layer, logits.

Weights, gradients and moments are certain: norms and biases alone are left out, so what they come to is never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jmlr.models.flops import Shape

BYTES = {"float32": 4.0, "bfloat16": 2.0, "4bit": 0.516}  # NF4 with double quantisation: 4.127 bits a weight
MOMENTS = 8 + 4  # AdamW's two in float32, and the gradient
FREE = 0.1  # of a card


@dataclass(frozen=True)
class OnCard:
    """Bytes of one card; `retriever`: weights, gradients and moments of one beside the language model."""

    weights: float
    trained: float
    gathered: float
    activations: float
    retriever: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.certain + self.gathered + self.activations

    @property
    def certain(self) -> float:
        """What is there whatever the texts and the library: weights, gradients and moments."""
        return self.weights + self.trained + self.retriever

    def beside(self, retriever: OnCard) -> OnCard:
        """Return what a language model takes with a retriever beside it, of which one computes at a time."""
        most = max(self.activations, retriever.activations)
        held, casts = retriever.certain, self.gathered + retriever.gathered
        return replace(self, gathered=casts, activations=most, retriever=held)

    def fits(self, card: float) -> bool:
        """Tell whether a card of so many bytes has room for it, a tenth being left free."""
        return self.total <= (1 - FREE) * card


@dataclass(frozen=True)
class Training:
    """What of a training decides its memory.

    Attributes:
        shape: of the model
        held: bytes of the frozen weights, all of them together
        trained: weights that are trained, in float32
        state: bytes of their gradients and moments
        computed: bytes of a number that is computed with
        tokens: of one forward pass, padding included
        predicted: of these, the ones the head is asked for
        recompute: whether activations are computed again in the backward pass
    """

    shape: Shape
    held: float
    trained: float
    state: float
    computed: float
    tokens: int
    predicted: int
    recompute: bool

    @classmethod
    def of_adapter(cls, shape: Shape, *, rank: int, precision: str, tokens: int, predicted: int, recompute: bool,
                   targets: Sequence[str] = ("all-linear",), modules: Sequence[str] = (), half: bool = True) -> Training:  # fmt: skip
        """Return an adapter's training over a frozen model (`train`); of `modules`, copies trained in full, embedding and head count."""
        ends = (shape.weights - shape.body) * (4.0 if precision == "4bit" else BYTES[precision])
        trained = shape.lora(rank, targets) + len({"embed_tokens", "lm_head"}.intersection(modules)) * shape.head
        held = shape.body * BYTES[precision] + ends
        return cls(shape, held, trained, MOMENTS * trained, 2.0 if half else 4.0, tokens, predicted, recompute)

    @classmethod
    def of_all(cls, shape: Shape, *, tokens: int, recompute: bool, half: bool = True, muon: bool = False) -> Training:
        """Return the training of every weight, held in float32 (`pretrain`); Muon has one moment of the inner matrices."""
        state = MOMENTS * shape.weights - 4 * muon * shape.body
        return cls(shape, 0.0, shape.weights, state, 2.0 if half else 4.0, tokens, tokens, recompute)

    @classmethod
    def of_retriever(cls, shape: Shape, *, tokens: int, encoders: str = "shared", embeddings: bool = False,
                     half: bool = True) -> Training:  # fmt: skip
        """Return a retriever's training: of `retriever_encoders` of the options of `train`; `embeddings`: of these alone."""
        both, each = shape.body + shape.head, shape.head if embeddings else shape.body + shape.head
        trained = each * (2 if encoders == "separate" else 1)
        held = 4.0 * (both * (1 if encoders == "shared" else 2) - trained)
        return cls(shape, held, trained, MOMENTS * trained, 2.0 if half else 4.0, tokens, 0, False)

    def on_a_card(self, cards: int, *, shard: bool) -> OnCard:
        """Return the bytes of each of so many cards, the model whole on each or cut over all of them."""
        s, parts = self.shape, cards if shard else 1
        whole = self.held + 4.0 * self.trained
        # a weight of pre-training is put together as it is computed with
        each = self.held / s.weights or self.computed
        gathered = each * (2 * s.body / s.layers + s.weights - s.body) if parts > 1 else 0.0
        # autocast keeps its casts of trained weights through a pass, and autograd those of frozen ones, whole even of a cut model
        if parts == 1 and not self.held and self.computed < 4:
            gathered += self.computed * (s.body + s.head)
        if each > self.computed and not self.recompute:
            gathered += self.computed * s.body
        inner = (4 if s.gated else 2) * s.inner
        layer = self.tokens * self.computed * (10 * s.width + inner)
        kept = layer + s.layers * self.tokens * self.computed * s.width if self.recompute else s.layers * layer
        logits = self.predicted * s.head / s.width * (2 * 4.0 + self.computed)
        return OnCard(whole / parts, self.state / parts, gathered, kept + logits)


def answering(
    shape: Shape, *, precision: str, cards: int, tokens: int, copies: int, predicted: int, adapter: int = 0
) -> OnCard:
    """Return the bytes of each of so many cards while a model answers, cut over all of them where there are several.

    Args:
        shape: of the model
        precision: how weights are held
        cards: that it is cut over; 1: it is whole
        tokens: of one forward pass, padding included
        copies: of the keys and values of what was read: one for each option, or 1
        predicted: tokens that the head is asked for
        adapter: weights of it, held as the model's
    """
    computed, ends = (4.0 if precision == "float32" else 2.0), shape.weights - shape.body
    each = 4.0 if precision == "4bit" else BYTES[precision]  # of the embedding and the head, as of adapters
    whole = shape.body * BYTES[precision] + (ends + adapter) * each
    gathered = each * (2 * shape.body / shape.layers + ends) if cards > 1 else 0.0
    layer = tokens * computed * (10 * shape.width + (4 if shape.gated else 2) * shape.inner)
    cache = copies * tokens * computed * 2 * shape.layers * shape.queries * shape.shared
    logits = predicted * shape.head / shape.width * (2 * 4.0 + computed)
    return OnCard(whole / cards, 0.0, gathered, layer + cache + logits)
