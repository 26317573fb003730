"""Training on plain text, before any question: the language model's next token, the retriever's inverse cloze task.

Here: the two loops, and the optimiser that only they use.
May import: corpus, models, training, runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "torch")
