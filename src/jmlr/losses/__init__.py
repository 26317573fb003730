"""What the retriever learns from the LLM's losses: targets with one signature, `target(scores[B, S], losses[B, S], mask[B, S]) -> scalar`."""
