"""Cross-encoders: a model reads a question and a passage together and gives one score (Nogueira and Cho, arXiv 1901.04085).

    model = CrossEncoder.load("cross-encoder/ms-marco-MiniLM-L6-v2").to(device()).eval()
    scores = model.scores([("gout pain", "Colchicine treats gout.")], batch_tokens=8192)        # float32 [n]

Read as transformers has them (AutoModelForSequenceClassification with one label); sentence-transformers' CrossEncoder gives the
same order: a sigmoid behind the score, which some have there, changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jmlr.models.encoder import batches, length_of, shortest
from jmlr.models.load import pretrained
from jmlr.models.tensors import filled_up
from jmlr.runtime.errors import UserError
from jmlr.runtime.precision import Precision


class CrossEncoder(nn.Module):
    """A model of one score for a pair of texts.

    Attributes:
        model: a Hugging Face model for sequence classification with one label.
        tokenizer: its tokenizer.
        limit: the longest pair, in tokens; what is longer is cut at the longer of the two texts.
    """

    def __init__(self, model: Any, tokenizer: Any, tokens: int = 0) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.limit = shortest(tokens, length_of(model.base_model, tokenizer, None))

    @classmethod
    def load(cls, path: str, *, tokens: int = 0) -> CrossEncoder:
        """Load one from a folder or the hub, in float32.

        tokens: what pairs are cut to; 0: what it was made for.

        Raises:
            UserError: there is none, or it gives more than one score.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        what = "cross-encoder"
        model = pretrained(AutoModelForSequenceClassification, path, what, dtype=torch.float32, use_safetensors=True)
        if model.config.num_labels != 1:
            raise UserError(
                f"{what} '{path}': it has {model.config.num_labels} labels; allowed: 1, the score of a pair"
            )
        return cls(model, pretrained(AutoTokenizer, path, f"tokenizer of {what}"), tokens)

    @torch.no_grad()
    def scores(
        self, pairs: Sequence[tuple[str, str]], *, batch_tokens: int, precision: Precision = "float32"
    ) -> Tensor:
        """Return the scores float32 [n], on the CPU, of pairs (question, passage), in batches of at most `batch_tokens` padded tokens."""
        from jmlr.runtime.devices import autocast

        where = next(self.model.parameters()).device
        found = torch.empty(len(pairs))
        if not pairs:
            return found
        ids = self.tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, max_length=self.limit)
        lengths = [len(row) for row in ids["input_ids"]]
        for batch in batches(lengths, batch_tokens):
            rows = {key: [values[i] for i in batch] for key, values in ids.items()}
            width = filled_up(max(lengths[i] for i in batch), self.limit)
            padded = self.tokenizer.pad(rows, padding="max_length", max_length=width, return_tensors="pt")
            with autocast(where, precision):
                found[batch] = self.model(**padded.to(where)).logits[:, 0].float().cpu()
        return found
