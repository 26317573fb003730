"""A row's test questions as tasks of lm-evaluation-harness: its prompts and answers to the letter, without its passages.

    jmlr_demo.yaml       what the harness reads; tag: jmlr, which stands for all tasks of the folder
    jmlr_demo.jsonl      {"id": "q1", "prompt": "Question: ...\nAnswer:", "choices": ["aspirin</s>", ...], "answer": 0}

A task for each data set, named {system}_{dataset}. The passages come from `jmlr serve`, which finds them by the question. An answer
ends with the end-of-text token, which the row's own scores include too. Source: docs/task_guide.md of
github.com/EleutherAI/lm-evaluation-harness, 0.4.13.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jmlr.corpus.prompt import Prompter, option_lines, parted
from jmlr.corpus.tables import read_table
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import made
from jmlr.serving.row import Row, row_of

SPLIT = "test"


def write_tasks(folder: Path, run: Path, system: str, seed: int) -> dict[str, int]:
    """Write a task for each data set whose test questions have options.

    Returns:
        How many questions each task has.

    Raises:
        UserError: there is no such row, it does not compare log-probabilities as the harness does, or no question has options.
    """
    import yaml

    from jmlr.models.llm import load_tokenizer

    row = row_of(run, system, seed)
    _check(row)
    prepared = made(run, run / "prepare")
    asked = [q for q in read_table(prepared / "questions.parquet").to_pylist() if q["split"] == SPLIT and q["options"]]
    if not asked:
        raise UserError(f"--lm-eval: no {SPLIT} question of '{run}' has options")
    reading = row.reading
    prompter = Prompter(load_tokenizer(row.llm), **reading.model_dump(exclude={"llm_precision"}))
    _, gap = parted(reading.question_prompt.format(question="", options="") + reading.answer_prompt)
    files: dict[str, list[dict[str, Any]]] = {}
    for question in asked:
        name = f"{system}_{re.sub(r'[^A-Za-z0-9]+', '_', question['dataset'])}"
        files.setdefault(name, []).append(_document(question, prompter))
    for name, documents in files.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as f:
            f.writelines(json.dumps(d, ensure_ascii=False) + "\n" for d in documents)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(_task(name, gap), sort_keys=False), encoding="utf-8")
    return {name: len(documents) for name, documents in files.items()}


def _check(row: Row) -> None:
    """Refuse a row whose way to an answer is another than the harness's: the largest sum of log-probabilities behind a plain prompt."""
    answer, other = row.answer, ""
    if row.endpoint:
        other = "answers behind a server"
    elif answer.method != "likelihood":
        other = f"answers by method {answer.method}"
    elif answer.chat:
        other = "answers within a chat template"
    elif answer.option_score != "sum":
        other = f"scores options by their {answer.option_score}"
    if other:
        raise UserError(
            f"--lm-eval: '{row.system}' {other}; allowed: method likelihood, option_score sum, without chat"
        )


def _document(question: dict[str, Any], prompter: Prompter) -> dict[str, Any]:
    options = question["options"]
    asked = prompter.question_prompt.format(question=question["question"], options=option_lines(options))
    end = prompter.tokenizer.eos_token
    return {
        "id": question["id"],
        "prompt": asked + parted(prompter.answer_prompt)[0],
        "choices": [prompter.words(n, options) + end for n in range(len(options))],
        "answer": question["answer"],
    }


def _task(name: str, gap: str) -> dict[str, Any]:
    """Return a task's settings: fields of its documents by name, and what stands between prompt and answer."""
    return {
        "task": name,
        "tag": "jmlr",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {SPLIT: f"{name}.jsonl"}},
        "test_split": SPLIT,
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": gap,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
