"""The joint training: one step, the loop around it, its state on disk, the slow twin that it is held to.

Here: whatever changes weights by questions.
May import: corpus, inference, losses, metrics, models, options, topk, runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "torch")
