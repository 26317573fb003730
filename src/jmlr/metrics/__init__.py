"""What is measured, with formula and source; one number per question, so that intervals can be had.

Here: one metric or one test of significance per file.
May import: corpus, runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "pyarrow")
