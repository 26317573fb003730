"""From files as people have them to passages, questions and reading documents in one schema; the words of the LLM's prompts.

Here: readers of formats, one file each; what makes texts clean, whole and unique; the tables on disk.
May import: runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "lxml", "pyarrow", "regex")
