"""From files as people have them to passages, questions and reading documents in one schema; the prompt of the LLM."""

from jmlr.runtime.extras import require

require(__name__, "lxml", "pyarrow", "regex")
