"""The two models of JMLR: the language model that reads and judges, and the retriever."""

from jmlr.runtime.extras import require

require(__name__, "torch")
