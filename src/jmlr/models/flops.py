"""How many floating-point operations a transformer takes, from its shape alone; an operation is an addition or a product.

>>> llama = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
>>> round(Shape.of(llama).weights / 1e9, 2)       # Llama-2-7B has 6.74 billion weights
6.74
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What begins the `model_type` of models whose inner layer has a gate: three matrices, and mostly a head of its own.
GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "granite", "cohere", "olmo", "smollm3", "modernbert")
LONGEST = 512  # tokens of a text whose limit is that of a dense retriever: what most encoders read
COLBERT = (32, 180)  # the same of a ColBERT's queries and passages (ColBERTv2's and PyLate's defaults)


@dataclass(frozen=True)
class Shape:
    """What of a transformer's shape decides its cost."""

    layers: int
    width: int
    queries: int  # query heads times their depth; mostly the width
    inner: int
    shared: float  # key and value heads to each query head
    gated: bool
    head: int  # vocabulary times width
    tied: bool  # embedding and head are one matrix; an encoder has no head
    colbert_depth: int = 0  # of a retriever's vector for each token; 0: one vector for each text, of the model's width

    @classmethod
    def of(cls, architecture: Mapping[str, Any], vocabulary: int = 0, colbert_depth: int = 0) -> Shape:
        """Read a shape from Hugging Face's configuration of an architecture; `colbert_depth` may stand there too.

        Raises:
            KeyError: a number that decides the cost does not stand there under its usual name.
        """
        a = architecture
        width, heads = a["hidden_size"], a["num_attention_heads"]
        shared = (a.get("num_key_value_heads") or heads) / heads
        queries, inner = heads * (a.get("head_dim") or width // heads), a.get("intermediate_size") or 4 * width
        gated = str(a.get("model_type", "llama")).startswith(GATED)
        head, tied = (a.get("vocab_size") or vocabulary) * width, a.get("tie_word_embeddings", not gated)
        depth = a.get("colbert_depth") or colbert_depth
        return cls(a["num_hidden_layers"], width, queries, inner, shared, gated, head, tied, depth)

    @property
    def body(self) -> int:
        """The weights that every token meets: without embeddings, head, norms and biases."""
        attention = 2 * self.queries * (1 + self.shared)
        return round(self.layers * self.width * (attention + (3 if self.gated else 2) * self.inner))

    @property
    def weights(self) -> int:
        """All weights of a language model, or of an encoder, but norms and biases."""
        return self.body + (1 if self.tied else 2) * self.head

    def forward(self, tokens: float, predicted: float = 0.0) -> float:
        """Return the operations of one sequence: two for each weight and token, attention, the head where it predicts."""
        return 2 * self.body * tokens + 4 * self.layers * self.queries * tokens**2 + 2 * self.head * predicted

    def lengths(self, query: int, passage: int, fill: float) -> tuple[float, float]:
        """Return the tokens of a query and of a passage: their limits (0: what the retriever was made for) as far as texts fill
        them; a ColBERT fills its queries up by itself."""
        if self.colbert_depth:
            return query or COLBERT[0], fill * (passage or COLBERT[1])
        return fill * (query or LONGEST), fill * (passage or LONGEST)

    def vectors(self, tokens: float) -> tuple[float, int]:
        """Return how many vectors a text of so many tokens has, and their depth."""
        return (tokens, self.colbert_depth) if self.colbert_depth else (1, self.width)

    def lora(self, rank: int, targets: Sequence[str] = ("all-linear",)) -> int:
        """Return the weights of adapters of a rank: on all linear layers but the head, or on those that have these names."""
        w, heads, inner = self.width, self.width + self.queries, self.width + self.inner
        each = {"q_proj": heads, "o_proj": heads, "up_proj": inner, "down_proj": inner}
        each |= dict.fromkeys(("k_proj", "v_proj"), w + round(self.queries * self.shared))
        each |= {"gate_proj": inner} if self.gated else {}
        named = each if "all-linear" in targets else targets
        ends = len({"embed_tokens", "lm_head"}.intersection(targets)) * (w + self.head // w)
        return rank * (self.layers * sum(each.get(name, 0) for name in named) + ends)


def training_flops(llm: Shape, retriever: Shape | None, *, prompt: float, judged: float, answer: float, samples: int,
                   candidates: int, passage: float, query: float, recompute: bool) -> float:  # fmt: skip
    """Return the operations of one question of the joint step (docs/llm_rank.md), or of plain fine-tuning without a retriever.

    Args:
        llm: that answers; its own weights are frozen, so the backward pass costs no more than the forward one
        retriever: that is trained; None: it is frozen
        prompt: tokens with K passages, question and answer
        judged: tokens with one passage, question and answer; 0: the LLM is not the retriever's teacher
        answer: tokens of the answer
        samples: passages whose losses the LLM gives (S)
        candidates: passages that are encoded (C)
        passage: tokens of one passage for the retriever
        query: tokens of the question for the retriever
        recompute: whether activations are computed again in the backward pass
    """
    total = llm.forward(prompt, answer) * (3 if recompute else 2)
    if retriever is not None:
        total += samples * llm.forward(judged, answer) if judged else 0
        total += candidates * retriever.forward(passage) + 3 * (samples + 2) * retriever.forward(passage)
        total += 3 * retriever.forward(query)
    return total


def next_token_flops(llm: Shape, *, tokens: float, length: float, recompute: bool) -> float:
    """Return the operations of training every weight by the next token, on so many tokens in texts of one length."""
    return tokens / length * llm.forward(length, length) * (4 if recompute else 3)


def cloze_flops(retriever: Shape, *, pairs: int, query: float, passage: float) -> float:
    """Return the operations of a step of inverse cloze: sentences of `query` tokens against passages, each with each."""
    (many, depth), (few, _) = retriever.vectors(passage), retriever.vectors(query)
    return 3 * (pairs * (retriever.forward(query) + retriever.forward(passage)) + 2 * pairs**2 * few * many * depth)
