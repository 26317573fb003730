"""Options of `answer`, `evaluate` and `report`."""

from __future__ import annotations

from typing import Literal

from jmlr.options.base import Closed, Count, Positive, option


class AnswerOptions(Closed):
    """Options of `answer`."""

    splits: list[str] = option(lambda: ["test"], "splits whose questions are answered")
    option_score: Literal["sum", "mean"] = option(
        "sum", "an option's score: the sum or the mean of its tokens' log-probabilities"
    )
    answer_batch: Positive = option(32, "questions per batch")


class EvaluateOptions(Closed):
    """Options of `evaluate`."""

    retrieval_k: list[Positive] = option(
        lambda: [1, 3, 5, 10, 30], "cut-offs of hit@k, recall@k, nDCG@k and answer_hit@k"
    )
    bootstrap: Positive = option(2000, "bootstrap samples for the 95 % intervals")
    concepts: str = option(
        "",
        "UMLS-F: your extractor of medical concepts as 'module:function' (docs/metrics.md); empty: an open vocabulary",
    )


class ReportOptions(Closed):
    """Options of `report`."""

    title: str = option("", "title of the report; empty: the run's name")
    remark: str = option("", "one paragraph that says what this run can and cannot show")
    command: str = option(
        "", "the command that makes the run, as the report shows it; empty: by config/runs/{run}.yaml"
    )
    examples: Count = option(
        3, "questions shown, with passages, that joint training changed; 0 where texts must not leave the corpus"
    )
