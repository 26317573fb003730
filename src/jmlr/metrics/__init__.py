"""One metric per file, with its formula and source; one number per question, so that intervals can be had."""

from jmlr.runtime.extras import require

require(__name__, "pyarrow")
