"""A prompt is read once: its keys and values serve every answer scored after it, and every token written after it.

    losses = option_losses(llm, prompts, options)              # options[i]: the token lists that may follow prompts[i]
    texts = write(llm, tokenizer, prompts, most_tokens=16)     # greedy decoding

Prompts are padded on the left, so that all end in the same column; the mask hides the padding and positions count from each
prompt's own first token. Without the cache every option reads its whole prompt again (`answer_token_losses`, the plain twin).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmlr.models.forward import causal, logits_of
from jmlr.models.sharded import through
from jmlr.models.tensors import at_least_float32, pad_right


def pad_left(rows: Sequence[Sequence[int]], where: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return token lists filled up with token 0 on the left: (ids, mask, positions), each int64 [n, longest]."""
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + list(row) for row in rows], dtype=torch.long, device=where)
    counts = torch.tensor([len(row) for row in rows], device=where)
    places = torch.arange(length, device=where) - (length - counts)[:, None]
    return ids, (places >= 0).long(), places.clamp(min=0)


@torch.inference_mode()
def option_losses(
    llm: nn.Module, prompts: Sequence[list[int]], options: Sequence[Sequence[list[int]]]
) -> list[list[tuple[float, int]]]:
    """Return for every option of every prompt the summed cross-entropy of its tokens, in nats, and their number.

    Args:
        llm: a causal model in evaluation mode, with or without an adapter.
        prompts: n token lists, each of at least one token.
        options: for each prompt the token lists that may follow it, each of at least one token.
    """
    from transformers import DynamicCache

    where = next(llm.parameters()).device
    owner = torch.tensor([i for i, held in enumerate(options) for _ in held], device=where)
    answers = [answer for held in options for answer in held]
    if not answers:
        return [[] for _ in prompts]
    decoder: Any = causal(llm).get_decoder()
    ids, mask, positions = pad_left(prompts, where)
    cache: Any = DynamicCache(config=causal(llm).config)
    tokens = pad_right(answers, where)  # [m, A]
    counts = [len(a) for a in answers]
    real = torch.arange(tokens.shape[1], device=where) < torch.tensor(counts, device=where)[:, None]
    width = tokens.shape[1] - 1

    def losses_of(states: Tensor) -> Tensor:  # [m, A, H] -> [tokens]
        logits = at_least_float32(logits_of(llm, states[real]))
        return F.cross_entropy(logits, tokens[real].to(states.device), reduction="none")

    def read_prompts(_: nn.Module) -> Tensor:
        read = decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1:]
        first = read[owner]  # [m, 1, H]: each prompt's last state predicts the first token of its options
        return first if width else losses_of(first)

    def read_options(_: nn.Module, first: Tensor) -> Tensor:  # what predicts the tokens after the first
        cache.reorder_cache(owner)  # one row for each option
        seen = torch.cat([mask[owner], mask.new_ones(len(answers), width)], 1)
        after = positions[owner, -1:] + 1 + torch.arange(width, device=where)
        read = decoder(
            input_ids=tokens[:, :-1], attention_mask=seen, position_ids=after, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return losses_of(torch.cat([first, read], 1))

    found = through(llm, read_prompts)  # each pass is a turn of its own where the model is cut over ranks
    losses = through(llm, read_options, found) if width else found
    sums = torch.zeros(len(answers), device=losses.device, dtype=losses.dtype)
    sums.index_add_(0, real.nonzero()[:, 0].to(losses.device), losses)
    flat = iter(zip(sums.tolist(), counts, strict=True))
    return [[next(flat) for _ in held] for held in options]


@torch.inference_mode()
def write(llm: Any, tokenizer: Any, prompts: Sequence[list[int]], most_tokens: int) -> list[str]:
    """Return what the model writes after each prompt: greedily, at most `most_tokens`, to the end of its text or turn.

    None of the model's own generation settings applies, but for the tokens that end a turn.
    """
    from transformers import GenerationConfig

    model: Any = causal(llm)
    own = model.generation_config
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    stops = sorted({tokenizer.eos_token_id, *(e for e in ends if e is not None)})
    plain = GenerationConfig(
        max_new_tokens=most_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=tokenizer.eos_token_id,
        use_cache=True,
    )
    ids, mask, _ = pad_left(prompts, next(llm.parameters()).device)
    model.generation_config = GenerationConfig()  # transformers fills what is not given from the model's own
    try:
        # each token is a turn of its own where the model is cut over ranks, so none needs to be in step with the others
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=plain, synced_gpus=False)
    finally:
        model.generation_config = own
    return [str(tokenizer.decode(row, skip_special_tokens=True)).strip() for row in out[:, ids.shape[1] :]]


def by_length(prompts: Sequence[Sequence[int]], batch: int) -> list[list[int]]:
    """Return the numbers of the prompts in batches of like length, the longest first: what does not fit into memory fails at once."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    return [order[i : i + batch] for i in range(0, len(order), batch)]
