"""Stage `answer`: one answer per question, with the options' scores and the passages used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jmlr.options import AnswerOptions, ReadingOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import stage_output


def answer(
    out: Path,
    prepared: Path,
    llm: str,
    options: AnswerOptions,
    reading: ReadingOptions,
    trained: Path | None = None,
    candidates: Path | None = None,
    passages: int = 0,
) -> None:
    """Answer the questions of the chosen splits: answers.parquet.

    Args:
        out: folder to make
        prepared: output of `prepare`
        llm: the base language model: folder or hub name
        trained: output of `train`, whose adapter is put on it; none: the model as it is
        candidates: output of `search`; none for a closed book
        passages: passages given to the LLM (K); the best stands last, next to the question
    """
    if passages and candidates is None:
        raise UserError(f"--passages {passages}: give --candidates, or --passages 0 for a closed book")
    import pyarrow as pa
    import pyarrow.parquet as pq

    from jmlr.corpus.prompt import Prompter
    from jmlr.models.llm import load_adapter, load_llm
    from jmlr.runtime.devices import device
    from jmlr.training.data import Passages, read_table

    inputs = {"prepared": prepared, "llm": Path(llm), "trained": trained, "candidates": candidates}
    with stage_output(out, "answer", inputs=inputs, options=[options, reading]) as (folder, notes):
        records = [
            r
            for r in read_table(prepared / "questions.parquet").to_pylist()
            if r["split"] in options.splits and r["options"]
        ]
        if not records:
            raise UserError(
                f"'{prepared}/questions.parquet' has no question with options in splits {', '.join(options.splits)}"
            )
        model, tokenizer = load_llm(llm, precision=reading.llm_precision, where=device())
        model = (load_adapter(model, trained / "adapter", trainable=False) if trained else model).eval()
        prompter = Prompter(tokenizer, **reading.model_dump(exclude={"llm_precision"}))
        texts = Passages(read_table(prepared / "passages.parquet"), prompter, None, 0)
        found = _found(candidates, passages) if candidates else {}
        rows = _answers(model, prompter, texts, records, found, options)
        pq.write_table(pa.Table.from_pylist(rows, schema=_schema(pa)), folder / "answers.parquet")
        notes.update(questions=len(rows), cut=prompter.cut)


def _answers(
    model: Any, prompter: Any, texts: Any, records: list[dict[str, Any]], found: dict[str, Any], options: AnswerOptions
) -> list[dict[str, Any]]:
    from jmlr.runtime.progress import Progress
    from jmlr.training.reading import probabilities, score_options

    rows, progress = [], Progress("answer", len(records))
    for begin in range(0, len(records), options.answer_batch):
        batch = records[begin : begin + options.answer_batch]
        used = [found.get(r["id"], ([], [], [])) for r in batch]
        read = [[texts.for_llm(row) for row in u[0]] for u in used]
        scored = score_options(
            model, prompter, batch, read, room=prompter.llm_answer_tokens, mean=options.option_score == "mean"
        )
        for record, scores, (numbers, ids, values) in zip(batch, scored, used, strict=True):
            best = max(range(len(scores)), key=scores.__getitem__)
            rows.append({"question_id": record["id"], "dataset": record["dataset"], "split": record["split"], "answer": record["answer"], "predicted": best,
                         "scores": scores, "probabilities": probabilities(scores), "passages": numbers, "ids": ids, "passage_scores": values})  # fmt: skip
        progress.step(len(batch))
    return rows


def _found(folder: Path, passages: int) -> dict[str, tuple[list[int], list[str], list[float]]]:
    from jmlr.training.data import read_table

    table = read_table(folder / "candidates.parquet").to_pylist()
    return {r["question_id"]: (r["passages"][:passages], r["ids"][:passages], r["scores"][:passages]) for r in table}


def _schema(pa: Any) -> Any:
    number, numbers = pa.int32(), pa.list_(pa.float32())
    fields = {"question_id": pa.string(), "dataset": pa.string(), "split": pa.string(), "answer": number, "predicted": number, "scores": numbers,
              "probabilities": numbers, "passages": pa.list_(number), "ids": pa.list_(pa.string()), "passage_scores": numbers}  # fmt: skip
    return pa.schema(list(fields.items()))
