"""The stages of the workflow in their order, each with what it does: the one list that the command line, the plan and the report follow."""

from __future__ import annotations

STAGES = {
    "fetch": "bring raw data here: generated, local, from the hub, downloaded",
    "prepare": "raw files -> passages, questions and reading documents in one schema",
    "pretrain": "make or continue a language model or a retriever",
    "encode": "texts -> vectors, by the retriever",
    "index": "vectors -> an index for exact search",
    "search": "the best passages of every question",
    "rerank": "the passages of a search in the order of a cross-encoder (where the configuration names one)",
    "train": "fine-tune the LLM, jointly with its retriever or without",
    "answer": "one answer per question, with option scores and the passages used",
    "evaluate": "answers and candidates -> metrics with confidence intervals",
    "judge": "language models compare systems' answers in pairs (where the configuration names judges)",
    "report": "metrics, logs and manifests -> one HTML page and results.csv",
}
