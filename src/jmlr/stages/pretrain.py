"""Stage `pretrain`: a language model or a retriever, from scratch or continued, on the run's own text.

Several ranks share the training of one language model, as in `train`: `torchrun --nproc-per-node=2 -m jmlr pretrain ...`.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jmlr.options import PretrainOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.manifest import stage_output, state_key


def pretrain(
    out: Path,
    prepared: Path,
    seed: int,
    options: PretrainOptions,
    fetched: list[Path] | None = None,
    scratch: Path | None = None,
) -> None:
    """Make or continue a language model (--objective causal) or a retriever (--objective inverse_cloze).

    Args:
        out: folder to make: a Hugging Face model, or a sentence-transformers retriever
        prepared: output of `prepare`
        seed: of the initial weights and of the order of the text
        fetched: outputs of `fetch`, where the tokenizer is one of their files ('source:NAME/FILE')
        scratch: folder for the state of an unfinished language model; the same command goes on from it

    Example:
        jmlr pretrain --out my/llm --prepared results/demo/prepare --seed 1 \\
            --fetched results/demo/fetch/world --options logs/demo/llm/seed0/pretrain.options.yaml
    """
    from jmlr.runtime.distributed import from_environment, joined

    inputs = {"prepared": prepared, "init": Path(options.init) if options.init else None}
    key = state_key("pretrain", inputs={**inputs, "fetched": fetched}, options=[options], seed=seed)
    several = from_environment(os.environ)[0].size
    if options.objective != "causal" and several > 1:
        raise UserError(f"pretrain: {several} ranks, objective inverse_cloze; allowed: one, or objective causal")
    whole: Any = stage_output(out, "pretrain", inputs=inputs, options=[options], seed=seed)
    with joined() as ranks, whole if ranks.rank == 0 else nullcontext((out, {})) as (folder, notes):
        if options.objective == "causal":
            notes.update(_language_model(folder, prepared, seed, options, fetched or [], scratch, key))
        else:
            notes.update(_retriever(folder, prepared, seed, options, fetched or []))
    if scratch and ranks.rank == 0:
        from jmlr.training.state import drop_states

        drop_states(scratch)


def _language_model(
    folder: Path,
    prepared: Path,
    seed: int,
    options: PretrainOptions,
    fetched: list[Path],
    scratch: Path | None,
    key: str,
) -> dict[str, Any]:
    from jmlr.corpus.prompt import passage_text
    from jmlr.corpus.tables import read_table
    from jmlr.models.sharded import gathered, is_sharded
    from jmlr.pretraining.llm import pack, pretrain_llm, steps_for, tokenize_documents
    from jmlr.runtime.distributed import current

    table = read_table(prepared / f"{options.reads}.parquet")
    llm, tokenizer = _opened(table, seed, options, fetched)
    records = (r for batch in table.to_batches(max_chunksize=1024) for r in batch.to_pylist())
    if options.reads == "passages":
        records = ({"text": passage_text(r["title"], r["text"]), "targets": []} for r in records)
    most = 0 if options.pack else options.max_tokens
    documents, cut = tokenize_documents(tokenizer, records, most, options.context_weight)
    read = pack(documents, options.max_tokens) if options.pack else documents
    steps = steps_for(read, options.batch, options.steps, epochs=options.epochs, tokens=options.tokens)
    figures = pretrain_llm(
        llm, read, seed=seed, steps=steps, batch=options.batch, learning_rate=options.learning_rate,
        matrix_learning_rate=options.matrix_learning_rate, weight_decay=options.weight_decay, warmup_steps=options.warmup_steps,
        shuffle=options.shuffle, precision=options.pretrain_precision, checkpoint_min=options.checkpoint_min,
        scratch=scratch, key=key,
    )  # fmt: skip
    tensors = gathered(llm, trained=False) if is_sharded(llm) else None
    if current().rank == 0:
        llm.save_pretrained(folder, state_dict=tensors)
        tokenizer.save_pretrained(folder)
    return {
        **figures,
        "documents": len(documents),
        "documents_cut": cut,
        "rows": len(read),
        "tokens": sum(len(d.ids) for d in read),
        "steps": steps,
        "parameters": sum(p.numel() for p in llm.parameters()),
    }


def _opened(table: Any, seed: int, options: PretrainOptions, fetched: list[Path]) -> tuple[Any, Any]:
    """Return the language model to train, where it computes, whole or this rank's part of it, and its tokenizer."""
    import torch

    from jmlr.models.fresh import fresh_model
    from jmlr.models.induction import prepare_induction
    from jmlr.models.llm import check_context, load_llm, recompute
    from jmlr.models.sharded import shard
    from jmlr.runtime.devices import device, has_bf16
    from jmlr.runtime.distributed import current
    from jmlr.runtime.seeds import seed_torch
    from jmlr.training.on_card import check_pretraining

    where = device()
    check_pretraining(where, options)
    shared = options.shard_llm and current().size > 1
    host = torch.device("cpu") if shared else where
    if options.init:
        llm, tokenizer = load_llm(options.init, where=host)
    else:
        tokenizer = _tokenizer(options, fetched, (text.as_py() for text in table["text"]))
        seed_torch(seed, "weights")
        llm = fresh_model(options.architecture, tokenizer, options.embedding_std, causal=True)
        if options.induction_heads:
            prepare_induction(llm)
        llm = llm.to(host)
    check_context(llm.config, options.max_tokens, options.init or "architecture", "max_tokens")
    if options.gradient_checkpointing:
        recompute(llm)
    if shared:
        half = options.pretrain_precision == "bfloat16" and has_bf16(where)
        shard(llm, where, torch.bfloat16 if half else None)
    return llm, tokenizer


def _retriever(
    folder: Path, prepared: Path, seed: int, options: PretrainOptions, fetched: list[Path]
) -> dict[str, Any]:
    from jmlr.corpus.prompt import passage_text
    from jmlr.corpus.tables import read_table
    from jmlr.models.fresh import fresh_model, fresh_retriever
    from jmlr.models.retriever import TwoEncoders, load_retriever
    from jmlr.pretraining.retriever import pretrain_retriever
    from jmlr.runtime.devices import device
    from jmlr.runtime.seeds import seed_torch
    from jmlr.training.on_card import check_pretraining

    where = device()
    check_pretraining(where, options)
    table = read_table(prepared / "passages.parquet", ["title", "text"]).to_pylist()
    passages = [passage_text(p["title"], p["text"]) for p in table]
    if options.init:
        loaded = load_retriever(options.init)
        if isinstance(loaded, TwoEncoders):
            raise UserError(f"--init '{options.init}': a retriever with two encoders cannot be continued")
        retriever = loaded
    else:
        tokenizer = _tokenizer(options, fetched, passages)
        seed_torch(seed, "weights")
        encoder = fresh_model(options.architecture, tokenizer, options.embedding_std, causal=False)
        retriever = fresh_retriever(encoder, tokenizer, options.colbert_depth)
    retriever = retriever.to(where)
    figures = pretrain_retriever(
        retriever, passages, seed=seed, steps=options.steps, batch=options.batch, max_tokens=options.max_tokens,
        learning_rate=options.learning_rate, weight_decay=options.weight_decay, warmup_steps=options.warmup_steps,
        noise_words=options.noise_words, temperature=options.temperature, precision=options.pretrain_precision,
    )  # fmt: skip
    retriever.save(folder)
    return {**figures, "passages": len(passages), "parameters": sum(p.numel() for p in retriever.parameters())}


def _tokenizer(options: PretrainOptions, fetched: list[Path], texts: Any) -> Any:
    """Open the tokenizer that the options name, or train one on the texts."""
    from jmlr.models.fresh import open_tokenizer, train_tokenizer

    if not options.tokenizer:
        return train_tokenizer(texts, options.vocab_size)
    if not options.tokenizer.startswith("source:"):
        return open_tokenizer(options.tokenizer)
    source, _, file = options.tokenizer.removeprefix("source:").partition("/")
    for folder in fetched:
        if folder.name == source:
            return open_tokenizer(str(folder / file))
    raise UserError(
        f"--tokenizer '{options.tokenizer}': --fetched has no folder '{source}' (given: {', '.join(f.name for f in fetched) or 'none'})"
    )
