"""`jmlr ask`: put a question to a finished run: to any of its rows, trained or not, on this machine or behind a server.

jmlr ask "Which drug treats gout?" --run results/own --choices '{"A": "colchicine", "B": "aspirin"}'
jmlr ask "Which drug treats gout?" --run results/own --compare        # the passages before training and after, side by side
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jmlr.corpus.answers import options_of
from jmlr.runtime.errors import UserError
from jmlr.runtime.progress import say
from jmlr.serving.row import row_of, search_of

if TYPE_CHECKING:
    from jmlr.serving.system import Said


def ask(
    question: str,
    /,
    run: Path = Path("results/demo"),
    system: str = "jmlr",
    seed: int = 0,
    choices: dict[str, str] | list[str] | None = None,
    passages: int = 0,
    compare: bool = False,
) -> None:
    """Answer a question with a finished run's retriever and LLM; show the passages that were read, as they were read.

    Args:
        question: the question, in quotes
        run: folder of the run
        system: whose models answer
        seed: of the training
        choices: JSON object or list of the answers to choose from: '["aspirin", "ibuprofen"]'; none: the answer is written
        passages: how many are read; 0: as many as in training
        compare: also show what the retriever found before training, and what is answered from it

    Example:
        jmlr ask "Which finding is expected on examination?" --choices '["fokzum", "sannom", "taklim", "podfed"]'
    """
    if not question.strip():
        raise UserError("QUESTION is empty")
    row = row_of(run, system, seed)
    offered = options_of(choices, "--choices") if choices is not None else None
    keys, texts = (offered.keys, offered.texts) if offered else ([], [])
    rounds = {"": row.searches[-1:]}
    if compare:
        if len(row.searches) < 2:
            why = "was not trained, or not better on dev than before training"
            raise UserError(
                f"--compare: the retriever of '{system}' that answers {why}; allowed: a row that answers by a trained one"
            )
        rounds = {"before training": row.searches[:1], "after training": row.searches[-1:]}
    for searches in rounds.values() if passages or row.passages else ():
        for search in searches:
            search_of(run, search)
    say(f"loading {system}, seed {seed}, of '{run}'")
    from jmlr.serving.system import Asked, System

    opened = System.open(row)
    for title, searches in rounds.items():
        print(f"== {title}" if title else "", end="\n" if title else "")
        [said] = opened.answer([Asked(question, texts, count=passages)], *searches)
        _show(said, keys, texts, row.reading.llm_tokens)


def _show(said: Said, keys: list[str], options: list[str], llm_tokens: int) -> None:
    """Print an answer, and the passages as they were read."""
    for note in filter(None, (said.cut, said.far)):
        print(note)
    for rank, passage in enumerate(said.read, 1):
        ends = " ... (cut here, as it was read)" if passage.cut else ""
        print(f"passage {rank}  {passage.score:+.4f}  {passage.id}\n    {' '.join(passage.text.split())}{ends}")
    if len(said.read) < said.found:
        print(
            f"({said.found - len(said.read)} of {said.found} passages had no room in {llm_tokens} tokens, and were not read)"
        )
    if said.probabilities:
        lines = [(p, f"{key}. {text}") for p, key, text in zip(said.probabilities, keys, options, strict=True)]
        print("\n".join(f"{p:7.1%}  {line}" for p, line in sorted(lines, key=lambda pair: -pair[0])))
    else:
        print(f"answer: {said.reply}")
