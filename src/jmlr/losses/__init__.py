"""What the retriever learns from the LLM's losses: targets with one signature, `target(scores[B, S], losses[B, S], mask[B, S]) -> scalar`.

Here: one target per file.
May import: runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "torch")
