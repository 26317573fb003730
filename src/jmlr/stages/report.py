"""Stage `report`: metrics, logs and manifests -> one page that stands alone, results.csv, and the table as text and Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jmlr.config import Config
from jmlr.options import ReportOptions
from jmlr.runtime.manifest import stage_output


def report(
    out: Path,
    run: str,
    prepared: Path,
    evaluations: list[Path],
    answers: list[Path],
    systems: dict[str, Any],
    options: ReportOptions,
    trainings: list[Path] | None = None,
    costs: list[Path] | None = None,
) -> None:
    """Make the report of a run: report.html, results.csv, table.txt, table.md.

    Args:
        out: folder to make
        run: name of the run
        prepared: output of `prepare`
        evaluations: outputs of `evaluate`, of every system and seed
        answers: outputs of `answer`, of every system and seed (.../{system}/seed{seed}/answer)
        systems: the systems in the order of the table, {name: {title, llm, retriever, rounds, train: {...}}}
        trainings: outputs of `train`, of every system, seed and round (.../{system}/seed{seed}/r{round}/train)
        costs: every other folder of the run that has a manifest and whose cost is to be counted
    """
    from jmlr.report.load import read_run
    from jmlr.report.page import render
    from jmlr.report.pool import pooled_rows
    from jmlr.report.tables import results_csv, table_markdown, table_text

    inputs: dict[str, Path | list[Path] | None] = {
        "prepared": prepared,
        "evaluations": evaluations,
        "answers": answers,
        "trainings": trainings,
    }
    with stage_output(out, "report", inputs=inputs, options=[options]) as (folder, notes):
        read = read_run(run, systems, prepared, evaluations, answers, trainings or [], costs or [])
        read = replace(read, pooled=pooled_rows(read))
        page = render(
            read, title=options.title, remark=options.remark, command=_command(options, run), examples=options.examples
        )
        made = {
            "results.csv": results_csv(read),
            "table.txt": table_text(read),
            "table.md": table_markdown(read),
            "report.html": page,
        }
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
        notes["rows"] = len(read.rows) + len(read.pooled)


def _command(options: ReportOptions, run: str) -> str:
    """Return the command that makes the run: as given, or by the custom that a run's file is named after it."""
    if options.command or run == Config.model_fields["run"].default:
        return options.command or "make demo"
    return f"snakemake --cores all --configfile config/runs/{run}.yaml"
