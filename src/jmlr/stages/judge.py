"""Stage `judge`: language models compare systems' answers in pairs; runs only where the configuration names judges.

`results/{run}/judge/pairs.parquet`, one row for each judge, pair and question: judge, a, b (systems), seed, question_id, dataset,
split, a_right, b_right (did the system choose the key?), forward and backward ("a", "b", "tie" or "unparsed": the verdict with
a first, and with b first), verdict (a preference only where both orders agree; else "tie"; "unparsed" if either was),
forward_text and backward_text (what the judge wrote).

`results/{run}/judge/summary.json`: rubric (its SHA-256), rubric_text, seed, show_key, judges ({name: model}), comparisons (a list:
judge, a, b, n, a_wins, b_wins, ties, unparsed, order_dependent, preference = (a_wins + ties / 2) / parsed with low and high, the
95 % bootstrap interval over questions; null where nothing was parsed) and agreement (a list: judges [x, y], a, b, n of
questions both parsed, observed share of equal verdicts, kappa (Cohen's); null where it is not defined).
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jmlr.options import EndpointOptions, JudgeOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.progress import Progress
from jmlr.runtime.validation import one_line


def judge(
    out: Path, prepared: Path, answers: list[Path], options: JudgeOptions, models: dict[str, Any], seed: int = 0
) -> None:
    """Compare systems' answers in pairs, both orders: pairs.parquet, summary.json.

    Args:
        out: folder to make
        prepared: output of `prepare`
        answers: outputs of `answer` of the systems in the pairs (.../SYSTEM/seedN/answer)
        models: the judges by name: an endpoint's settings (a mapping), or a model's folder or hub name (a text)
        seed: of the trainings whose answers are compared

    Example:
        jmlr judge --out my/judge --prepared results/demo/prepare --answers results/demo/rag/seed0/answer results/demo/jmlr/seed0/answer \\
            --models '{"mine": "my/llm"}' --judges '["mine"]' --pairs '[["jmlr", "rag"]]'
    """
    if not options.judges or not options.pairs:
        raise UserError("--judges and --pairs: at least one of each is wanted")
    if missing := [name for name in options.judges if name not in models]:
        raise UserError(f"--models: no judge '{missing[0]}' (given: {', '.join(models) or 'none'})")
    import pyarrow as pa
    import pyarrow.parquet as pq

    inputs: dict[str, Any] = {"prepared": prepared, "answers": answers}
    with stage_output(out, "judge", inputs=inputs, options=[options], seed=seed) as (folder, notes):
        cases = _cases(prepared, _by_system(answers), options, seed)
        rows: list[dict[str, Any]] = []
        for name in options.judges:
            prompts = [text for _, texts in cases for text in texts]
            said, figures = _say(models[name], prompts, options, Progress(f"judge {name}", len(prompts)))
            rows += [_row(name, case, said[2 * i : 2 * i + 2]) for i, (case, _) in enumerate(cases)]
            notes[name] = figures
        pq.write_table(pa.Table.from_pylist(rows), folder / "pairs.parquet")
        summary = _summary(rows, models, options, seed)
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        notes["unparsed"] = sum(c["unparsed"] for c in summary["comparisons"])


def _by_system(answers: list[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    from jmlr.corpus.tables import read_table

    return {
        folder.parts[-3]: {r["question_id"]: r for r in read_table(folder / "answers.parquet").to_pylist()}
        for folder in answers
    }


Case = tuple[dict[str, Any], tuple[str, str]]  # the row so far; the prompts of both orders


def _cases(
    prepared: Path, answers: dict[str, dict[str, dict[str, Any]]], options: JudgeOptions, seed: int
) -> list[Case]:
    """Return what is to be judged, in a fixed order."""
    from jmlr.corpus.prompt import option_lines
    from jmlr.corpus.stored_passages import StoredPassages
    from jmlr.corpus.tables import read_table
    from jmlr.judging.verdicts import comparison
    from jmlr.runtime.seeds import stream

    questions = {q["id"]: q for q in read_table(prepared / "questions.parquet").to_pylist()}
    passages = StoredPassages.open(prepared)
    cases: list[Case] = []
    for a, b in options.pairs:
        if unknown := [s for s in (a, b) if s not in answers]:
            raise UserError(f"--answers: none of system '{unknown[0]}' (given: {', '.join(answers)})")
        if different := set(answers[a]) ^ set(answers[b]):
            raise UserError(
                f"systems '{a}' and '{b}': only one of them answered question '{min(different)}'; let both answer anew"
            )
        drawn = sorted(answers[a], key=lambda id: stream(0, "judge", id))
        for id in sorted(drawn[: options.judged_questions or None]):
            q, pair = questions[id], [answers[s][id] for s in (a, b)]
            shown = [_shown(q, given, passages) for given in pair]
            asked = (
                q["question"],
                option_lines(q["options"]),
                q["options"][q["answer"]] if options.show_key and q["answer"] >= 0 else "",
            )
            case = {"a": a, "b": b, "seed": seed, "question_id": id, "dataset": q["dataset"], "split": q["split"],
                    "a_right": pair[0]["predicted"] == q["answer"], "b_right": pair[1]["predicted"] == q["answer"]}  # fmt: skip
            cases.append((case, (comparison(*asked, *shown), comparison(*asked, *shown[::-1]))))
    return cases


def _shown(question: dict[str, Any], given: dict[str, Any], passages: Any) -> Any:
    from jmlr.corpus.prompt import passage_text
    from jmlr.judging.verdicts import Shown

    chosen = given["predicted"]
    texts = [passage_text(*pair) for pair in passages.pairs(given["passages"])]
    return Shown(question["options"][chosen] if chosen >= 0 else "", given["rationale"], texts)


def _say(model: Any, prompts: list[str], options: JudgeOptions, progress: Progress) -> tuple[list[str], dict[str, Any]]:
    """Return what a judge writes to each prompt, and what it cost."""
    if isinstance(model, dict):
        from jmlr.endpoints.client import Client

        try:
            client = Client(**EndpointOptions.model_validate(model).model_dump())
        except ValidationError as error:
            raise UserError(f"--models: {one_line(error, EndpointOptions)}") from None
        said = [reply.text for reply in client.ask(prompts, options.judge_tokens, each=progress.step)]
        return said, dict(client.figures)
    from jmlr.inference.answering import replies
    from jmlr.models.llm import load_llm
    from jmlr.runtime.devices import device

    llm, tokenizer = load_llm(str(model), where=device())
    said = replies(
        llm.eval(), tokenizer, prompts, options.judge_tokens, options.judge_batch, options.judge_chat, progress.step,
        options.judge_chat_template_kwargs,
    )  # fmt: skip
    return said, {"requests": len(prompts)}


def _row(name: str, case: dict[str, Any], said: list[str]) -> dict[str, Any]:
    from jmlr.corpus.replies import without_thinking
    from jmlr.judging.verdicts import combined, parse_verdict, seen_as

    forward, backward = (
        seen_as(parse_verdict(without_thinking(text)), swapped)
        for text, swapped in zip(said, (False, True), strict=True)
    )
    return {"judge": name, **case, "forward": forward, "backward": backward, "verdict": combined(forward, backward),
            "forward_text": said[0], "backward_text": said[1]}  # fmt: skip


def _summary(rows: list[dict[str, Any]], models: dict[str, Any], options: JudgeOptions, seed: int) -> dict[str, Any]:
    from jmlr.judging.verdicts import rubric, rubric_digest

    groups = {
        (name, a, b): [r for r in rows if (r["judge"], r["a"], r["b"]) == (name, a, b)]
        for name in options.judges
        for a, b in options.pairs
    }
    called = {n: models[n]["model"] if isinstance(models[n], dict) else str(models[n]) for n in options.judges}
    comparisons = [_compared(key, members, options.judge_bootstrap) for key, members in groups.items()]
    agreement = [
        _agreed((x, y), (a, b), groups[x, a, b], groups[y, a, b])
        for x, y in combinations(options.judges, 2)
        for a, b in options.pairs
    ]
    return {"rubric": rubric_digest(), "rubric_text": rubric(), "seed": seed, "show_key": options.show_key, "judges": called,
            "comparisons": comparisons, "agreement": agreement}  # fmt: skip


def _compared(key: tuple[str, str, str], rows: list[dict[str, Any]], samples: int) -> dict[str, Any]:
    import numpy as np

    from jmlr.judging.verdicts import counts
    from jmlr.metrics.statistics.interval import interval

    worth = {"a": 1.0, "tie": 0.5, "b": 0.0}
    values = np.array([worth[r["verdict"]] for r in rows if r["verdict"] in worth])
    low, high = interval([values], samples=samples) if len(values) else (None, None)
    preference = float(values.mean()) if len(values) else None
    return {
        "judge": key[0],
        "a": key[1],
        "b": key[2],
        **counts(rows),
        "preference": preference,
        "low": low,
        "high": high,
    }


def _agreed(judges: tuple[str, str], pair: tuple[str, str], first: list[Any], second: list[Any]) -> dict[str, Any]:
    from jmlr.metrics.statistics.kappa import cohen_kappa

    both = [(x["verdict"], y["verdict"]) for x, y in zip(first, second, strict=True) if "unparsed" not in (x["verdict"], y["verdict"])]  # fmt: skip
    ours, theirs = [x for x, _ in both], [y for _, y in both]
    observed = sum(x == y for x, y in both) / len(both) if both else None
    return {"judges": list(judges), "a": pair[0], "b": pair[1], "n": len(both), "observed": observed, "kappa": cohen_kappa(ours, theirs)}  # fmt: skip
