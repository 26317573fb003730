"""The options of every stage; `jmlr.config` puts them together to a run.

Here: one file a group, each option with its default, its bounds and its sentence of help.
May import: runtime.
"""

from jmlr.runtime.extras import require

require(__name__, "pydantic")

from jmlr.options.answer import AnswerOptions, EvaluateOptions, ReportOptions
from jmlr.options.base import Closed
from jmlr.options.data import (
    CorpusOptions,
    DecontaminateOptions,
    DemoOptions,
    DocumentsOptions,
    PrepareOptions,
    QuestionsOptions,
    SourceOptions,
)
from jmlr.options.endpoints import EndpointOptions, JudgeOptions
from jmlr.options.models import (
    EncodeOptions,
    IndexOptions,
    ModelOptions,
    PretrainOptions,
    ReadingOptions,
    RetrievalOptions,
    SearchOptions,
)
from jmlr.options.prompts import DEFAULT_PROMPTS, PromptOptions
from jmlr.options.retrievers import Bm25Options, FusionOptions, PairOptions, RerankOptions
from jmlr.options.train import TrainOptions
