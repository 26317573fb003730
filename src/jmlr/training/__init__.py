"""Training: the joint step, the loop around it, its state on disk, and pre-training."""

from jmlr.runtime.extras import require

require(__name__, "torch")
