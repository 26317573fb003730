"""How many floating-point operations a transformer takes, from its shape alone; an operation is an addition or a product.

>>> llama = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
>>> round((Shape.of(llama).body + 2 * Shape.of(llama).head) / 1e9, 2)       # Llama-2-7B has 6.74 billion weights
6.74
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma")
LONGEST = 512  # tokens of a text whose limit is that of a dense retriever: what most encoders read
COLBERT = (32, 180)  # the same of a ColBERT's queries and passages (ColBERTv2's and PyLate's defaults)


@dataclass(frozen=True)
class Shape:
    """What of a transformer's shape decides its cost."""

    layers: int
    width: int
    inner: int
    shared: float  # key and value heads to each query head
    gated: bool
    head: int  # vocabulary times width
    colbert_depth: int = 0  # of a retriever's vector for each token; 0: one vector for each text, of the model's width

    @classmethod
    def of(cls, architecture: Mapping[str, Any], vocabulary: int = 0, colbert_depth: int = 0) -> Shape:
        """Read a shape from Hugging Face's configuration of an architecture; `colbert_depth` may stand there too."""
        a = architecture
        shared = a.get("num_key_value_heads", a["num_attention_heads"]) / a["num_attention_heads"]
        gated = a.get("model_type", "llama") in GATED
        head = a.get("vocab_size", vocabulary) * a["hidden_size"]
        depth = a.get("colbert_depth", colbert_depth)
        return cls(a["num_hidden_layers"], a["hidden_size"], a["intermediate_size"], shared, gated, head, depth)

    @property
    def body(self) -> int:
        """The weights that every token meets: without embeddings, head, norms and biases."""
        width = self.width
        return round(self.layers * width * (2 * width * (1 + self.shared) + (3 if self.gated else 2) * self.inner))

    def forward(self, tokens: float, predicted: float = 0.0) -> float:
        """Return the operations of one sequence: two for each weight and token, attention, the head where it predicts."""
        return 2 * self.body * tokens + 4 * self.layers * self.width * tokens**2 + 2 * self.head * predicted

    def lengths(self, query: int, passage: int, fill: float) -> tuple[float, float]:
        """Return the tokens of a query and of a passage: their limits (0: what the retriever was made for) as far as texts fill
        them; a ColBERT fills its queries up by itself."""
        if self.colbert_depth:
            return query or COLBERT[0], fill * (passage or COLBERT[1])
        return fill * (query or LONGEST), fill * (passage or LONGEST)

    def vectors(self, tokens: float) -> tuple[float, int]:
        """Return how many vectors a text of so many tokens has, and their depth."""
        return (tokens, self.colbert_depth) if self.colbert_depth else (1, self.width)

    def lora(self, rank: int) -> int:
        """Return the weights of adapters of a rank on all linear layers but the head."""
        attention = 2 * (2 * self.width) + 2 * (self.width + round(self.width * self.shared))
        return self.layers * rank * (attention + (3 if self.gated else 2) * (self.width + self.inner))


def training_flops(llm: Shape, retriever: Shape | None, *, prompt: float, judged: float, answer: float, samples: int,
                   candidates: int, passage: float, query: float, recompute: bool) -> float:  # fmt: skip
    """Return the operations of one question of the joint step (docs/llm_rank.md), or of plain fine-tuning without a retriever.

    Args:
        llm: that answers; its own weights are frozen, so the backward pass costs no more than the forward one
        retriever: that is trained; None: it is frozen
        prompt: tokens with K passages, question and answer
        judged: tokens with one passage, question and answer
        answer: tokens of the answer
        samples: passages whose losses the LLM gives (S)
        candidates: passages that are encoded (C)
        passage: tokens of one passage for the retriever
        query: tokens of the question for the retriever
        recompute: whether activations are computed again in the backward pass
    """
    total = llm.forward(prompt, answer) * (3 if recompute else 2)
    if retriever is not None:
        total += samples * llm.forward(judged, answer)
        total += candidates * retriever.forward(passage) + 3 * (samples + 2) * retriever.forward(passage)
        total += 3 * retriever.forward(query)
    return total
