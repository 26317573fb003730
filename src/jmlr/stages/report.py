"""Stage `report`: metrics, logs and manifests -> one page that stands alone, results.csv, and the table as text and Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jmlr.options import (
    AnswerOptions,
    Bm25Options,
    Closed,
    EncodeOptions,
    EvaluateOptions,
    IndexOptions,
    PrepareOptions,
    PretrainOptions,
    PromptOptions,
    ReadingOptions,
    ReportOptions,
    RetrievalOptions,
    SearchOptions,
    TrainOptions,
)
from jmlr.runtime.manifest import stage_output

# Whose defaults a stage's manifest is compared with: the options in the stage's signature.
OPTIONS: dict[str, tuple[type[Closed], ...]] = {
    "prepare": (PrepareOptions, PromptOptions),
    "pretrain": (PretrainOptions,),
    "encode": (EncodeOptions, RetrievalOptions),
    "index": (IndexOptions, Bm25Options),
    "search": (SearchOptions,),
    "train": (TrainOptions, ReadingOptions, RetrievalOptions),
    "answer": (AnswerOptions, ReadingOptions),
    "evaluate": (EvaluateOptions,),
}


def report(
    out: Path,
    name: str,
    prepared: Path,
    evaluations: list[Path],
    answers: list[Path],
    systems: dict[str, Any],
    options: ReportOptions,
    trainings: list[Path] | None = None,
    costs: list[Path] | None = None,
    expected: Path | None = None,
    judge: Path | None = None,
    again: str | None = None,
    commit: str | None = None,
) -> None:
    """Make the report of a run: report.html, results.csv, results.tex, significance.csv, table.txt, table.md, figures/.

    Args:
        out: folder to make
        name: of the run
        prepared: output of `prepare`
        evaluations: outputs of `evaluate`, of every system and seed
        answers: outputs of `answer`, of every system and seed (.../{system}/seed{seed}/answer)
        systems: the systems in the order of the table, {name: {title, llm, retriever, rounds, train: {...}}}
        trainings: outputs of `train`, of every system, seed and round (.../{system}/seed{seed}/r{round}/train)
        costs: every other folder of the run that has a manifest and whose cost is to be counted
        expected: file of the values that the run should find (config/expected/{run}.yaml)
        judge: output of `judge`, where language models compared the answers
        again: the command that makes the run again, as the page shows it; without it the option `command`
        commit: of the checkout, where git knows one

    Example:
        jmlr report --out my/report --name mine --prepared results/demo/prepare --evaluations results/demo/rag/seed0/evaluate \\
            --answers results/demo/rag/seed0/answer --options logs/demo/report.options.yaml
    """
    from jmlr.report.expected import read_expected
    from jmlr.report.load import read_run
    from jmlr.report.pool import datasets, pooled_rows

    inputs: dict[str, Path | list[Path] | None] = {
        "prepared": prepared,
        "evaluations": evaluations,
        "answers": answers,
        "trainings": trainings,
        "expected": expected,
        "judge": judge,
        "review": Path(options.review) if options.review else None,
    }
    with stage_output(out, "report", inputs=inputs, options=[options]) as (folder, notes):
        folders = [*(costs or []), *([judge] if judge else [])]
        read = read_run(name, systems, prepared, evaluations, answers, trainings or [], folders)
        read = replace(read, pooled=pooled_rows(read))
        wanted = read_expected(expected).within(datasets(read))
        made = (again or options.command, commit or "")
        for file, text in _files(read, options, wanted, judge, made).items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
        notes["rows"] = len(read.rows) + len(read.pooled)


def _files(read: Any, options: ReportOptions, wanted: Any, judge: Path | None, made: tuple[str, str]) -> dict[str, str]:
    """Return what the report consists of, by name; made: (command, commit)."""
    from jmlr.report.latex import results_tex
    from jmlr.report.page import render
    from jmlr.report.plots import alone, pictures
    from jmlr.report.review.merge import read_result
    from jmlr.report.significance import pairs, significance_csv
    from jmlr.report.tables import Beside, results_csv, table_markdown, table_text

    tested, beside, drawn = pairs(read), Beside.of(read, wanted), pictures(read)
    page = render(
        read,
        title=options.title,
        remark=options.remark,
        command=made[0],
        commit=made[1],
        examples=options.examples,
        questions=options.browse and options.examples > 0,
        defaults=_defaults(),
        expected=wanted,
        beside=beside,
        pairs=tested,
        pictures=drawn,
        judge=judge,
        review=read_result(options.review),
    )
    return {
        "results.csv": results_csv(read),
        "results.tex": results_tex(read, wanted),
        "significance.csv": significance_csv(tested),
        "table.txt": table_text(read, beside.line),
        "table.md": table_markdown(read),
        "report.html": page,
        **{f"figures/{name}.svg": alone(picture) for name, picture in drawn.items() if picture},
    }


def _defaults() -> dict[str, dict[str, Any]]:
    """Return the default of every option of every stage, as manifests write them."""
    return {
        stage: {key: value for kind in kinds for key, value in kind.model_construct().model_dump(mode="json").items()}
        for stage, kinds in OPTIONS.items()
    }
