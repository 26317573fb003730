"""The report of a run: what was measured, how sure it is, what it cost, and how to make it again.

`load` reads a run's folders, `pool` joins its seeds, `finding` says what the numbers allow, `tables` and `page` write.
Nothing here trains, scores or imports torch.

Here: what is shown, and the page it stands on.
May import: corpus, metrics, runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "jinja2", "pyarrow")
