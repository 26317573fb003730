"""Greedy writing a step at a time, so that an answer can be shown while it is written, and left off when nobody waits for it.

for written in steps(llm, tokenizer, prompts, rooms):       # [(number of the prompt, token), ...]
    ...

The tokens are those of `jmlr.models.prefix.write`, its plain twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from jmlr.models.forward import causal, logits_of
from jmlr.models.prefix import pad_left


def endings(llm: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end a text or turn."""
    own = causal(llm).generation_config.eos_token_id
    ends = own if isinstance(own, list) else [own]
    return {int(tokenizer.eos_token_id), *(int(e) for e in ends if e is not None)}


@torch.inference_mode()
def steps(
    llm: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    rooms: Sequence[int],
    live: Callable[[int], bool] = lambda _: True,
) -> Iterator[list[tuple[int, int]]]:
    """Yield the tokens of each step, as (number of the prompt, token), until all texts have ended.

    Args:
        llm: a causal model in evaluation mode, with or without an adapter.
        tokenizer: of the model.
        prompts: n token lists, each of at least one token.
        rooms: most tokens written after each.
        live: whether a prompt's text is still waited for; asked after every step.
    """
    from transformers import DynamicCache

    where, ends = next(llm.parameters()).device, endings(llm, tokenizer)
    decoder: Any = causal(llm).get_decoder()
    ids, mask, positions = pad_left(prompts, where)
    cache: Any = DynamicCache(config=causal(llm).config)
    rows, left = list(range(len(prompts))), list(rooms)
    while rows:
        states = decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        tokens = logits_of(llm, states).argmax(-1)
        written = [(row, token) for row, token in zip(rows, tokens.tolist(), strict=True) if token not in ends]
        for row, _ in written:
            left[row] -= 1
        yield written
        going = {row for row, _ in written if left[row] > 0 and live(row)}
        kept = [n for n, row in enumerate(rows) if row in going]
        if len(kept) < len(rows):
            chosen = torch.tensor(kept, dtype=torch.long, device=where)
            rows, tokens, mask, positions = [rows[n] for n in kept], tokens[chosen], mask[chosen], positions[chosen]
            if kept:
                cache.reorder_cache(chosen)
        ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        positions = positions[:, -1:] + 1
