"""The two models of JMLR: the language model that reads, and the retriever; loaded, run forward, saved.

Here: kinds of models and what they compute; no optimiser, no question.
May import: runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "torch")
