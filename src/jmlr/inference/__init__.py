"""What reads and answers: questions and passages as token ids, answers, the LLM's losses of passages, the reading check.

Here: whatever needs a loaded model and changes none. Both training and the stage `answer` use it.
May import: corpus, endpoints, models, topk, runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "torch")
