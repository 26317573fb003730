"""`jmlr ask`: put a question to a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jmlr.options import ReadingOptions, RetrievalOptions
from jmlr.runtime.manifest import belonging, last_training, read_manifest


def ask(
    question: str,
    /,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    options: list[str] | None = None,
    passages: int = 0,
) -> None:
    """Answer a question with a finished run's retriever and LLM; show the passages used, with scores and ids.

    Args:
        question: the question, in quotes
        run: folder of the run
        system: whose models answer
        seed: of the training
        options: JSON list of answers to choose from: '["aspirin", "ibuprofen"]'; none: the likeliest words are generated
        passages: how many are read; 0: as many as in training

    Example:
        jmlr ask "Which finding is expected on examination?" --options '["fokzum", "sannom", "taklim", "podfed"]'
    """
    trained = last_training(run, system, seed)
    manifest = read_manifest(trained)
    settings = manifest["options"]
    reading = ReadingOptions(**{k: settings[k] for k in ReadingOptions.model_fields})
    retrieval = RetrievalOptions(**{k: settings[k] for k in RetrievalOptions.model_fields})
    count = passages or settings["passages"]
    prepared, llm = run / "prepare", belonging(run, manifest["notes"]["llm"])
    found = (
        _find(run, system, seed, manifest, question, options or [], retrieval, count) if settings["passages"] else []
    )
    from jmlr.corpus.prompt import Prompter
    from jmlr.models.llm import check_context, load_adapter, load_llm
    from jmlr.training.data import Passages, read_table
    from jmlr.training.reading import probabilities, score_options

    model, tokenizer = load_llm(llm, precision=reading.llm_precision)
    check_context(model.config, reading.llm_tokens, llm)
    model = load_adapter(model, trained / "adapter", trainable=False).eval()
    prompter = Prompter(tokenizer, **reading.model_dump(exclude={"llm_precision"}))
    table = read_table(prepared / "passages.parquet")
    texts = Passages(table, prompter, None, 0)
    read = [list(texts.for_llm(row)) for row, _ in found]
    for rank, (row, score) in enumerate(found, 1):
        print(f"passage {rank}  {score:+.4f}  {table['id'][row].as_py()}\n    {table['text'][row].as_py()}")
    if options:
        [scores] = score_options(
            model,
            prompter,
            [{"question": question, "options": options}],
            [read],
            room=reading.llm_answer_tokens,
            mean=False,
        )
        for text, p in sorted(zip(options, probabilities(scores), strict=True), key=lambda pair: -pair[1]):
            print(f"{p:7.1%}  {text}")
    else:
        print(_generate(model, tokenizer, prompter, question, read))


def _find(
    run: Path,
    system: str,
    seed: int,
    manifest: dict[str, Any],
    question: str,
    options: list[str],
    retrieval: RetrievalOptions,
    count: int,
) -> list[tuple[int, float]]:
    """Return (row, score) of the best passages under the retriever and index of the last round."""
    import torch

    from jmlr.models.retriever import load_retriever
    from jmlr.topk.stored import StoredVectors, open_stored, search_stored
    from jmlr.training.data import query_text

    trained = last_training(run, system, seed)
    own = trained / "retriever"
    search = trained.parent / "search" if own.is_dir() else Path(belonging(run, manifest["notes"]["candidates"]))
    index = Path(belonging(run, read_manifest(search)["notes"]["index"]))
    path = str(own) if own.is_dir() else belonging(run, read_manifest(index)["notes"]["retriever"])
    retriever = load_retriever(path, query_tokens=retrieval.query_tokens).eval()
    with torch.no_grad():
        ids = retriever.tokenize([query_text(question, options, retrieval.query_options)], kind="query")
        vectors, offsets = retriever.encode_all(ids, "query", batch_tokens=1)
    queries = StoredVectors(vectors.numpy(), None if offsets is None else offsets.numpy())
    scores, rows = search_stored(open_stored(index / "index"), queries, count)
    return list(zip(rows[0].tolist(), scores[0].tolist(), strict=True))


def _generate(model: Any, tokenizer: Any, prompter: Any, question: str, read: list[list[int]]) -> str:
    from jmlr.models.prefix import write

    prompt = prompter.prompt(prompter.question(question, []), read[::-1], prompter.llm_answer_tokens)
    return "answer: " + write(model, tokenizer, [prompt], prompter.llm_answer_tokens)[0]
