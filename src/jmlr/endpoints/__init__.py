"""Language models behind OpenAI-compatible servers: asked politely, paid for once, never told a secret they need not know.

Here: the client, its cache, its budget, the reading of replies.
May import: runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "filelock", "httpx2")
