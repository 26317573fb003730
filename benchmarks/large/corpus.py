"""A large corpus of short passages, and questions about some of them, made of real ones: for trying a run at full size.

python benchmarks/large/corpus.py scratch/large                       # after config/runs/openstax.yaml; else --prepared
python benchmarks/large/corpus.py scratch/small --passages 50000

A passage is two sentences: two stretches of words of one real passage, one word of ten replaced by a word of another.
A question has the first sentence of a passage, three words of ten replaced, and asks which second sentence goes with it: that, or
one of three other passages. Writes passages.jsonl and questions.jsonl (docs/data.md); the same bytes for the same arguments. The
first passages are the same however many are asked for. benchmarks/large/run.yaml is a run on them.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from jmlr.corpus.stored_passages import StoredPassages

WORDS, REPLACED, ASKED_REPLACED, AT_ONCE = (6, 10), 0.1, 0.3, 1000
ENDS = {"train": 0.4, "dev": 0.5}  # shares of the questions up to which a split goes; the rest is for testing


def changed(rng: random.Random, words: list[str], texts: list[list[str]], share: float) -> list[str]:
    """Return the words, a share of them replaced by words of any text."""
    return [rng.choice(rng.choice(texts)) if rng.random() < share else word for word in words]


def sentence(rng: random.Random, text: list[str], texts: list[list[str]]) -> str:
    """Return a stretch of a text as a sentence, some words replaced by words of any text."""
    count = rng.randint(*WORDS)
    begin = rng.randrange(max(1, len(text) - count))
    return said(changed(rng, text[begin : begin + count], texts, REPLACED))


def said(words: list[str]) -> str:
    """Return words as a sentence."""
    return " ".join(words).strip(" .,;:?!").capitalize() + "."


def question(number: int, count: int, pairs: dict[int, tuple[str, str]], texts: list[list[str]]) -> dict[str, object]:
    """Return a question about one of the passages that `pairs` holds, by number."""
    rng = random.Random(f"question {number}")
    gold, *others = rng.sample(list(pairs), 4)
    answer = rng.choice("ABCD")
    options = {key: pairs[gold if key == answer else others.pop()][1] for key in "ABCD"}
    asked = said(changed(rng, pairs[gold][0].rstrip(".").split(), texts, ASKED_REPLACED))
    split = next((s for s, end in ENDS.items() if number < end * count), "test")
    return {"id": f"q{number}", "split": split, "question": asked, "options": options, "answer": answer,
            "gold_ids": [f"p{gold}"]}  # fmt: skip


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepared", type=Path, default=Path("results/openstax/prepare"), help="output of `prepare`")
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=1000)
    given = parser.parse_args()
    if not given.prepared.is_dir():
        raise SystemExit(
            f"--prepared '{given.prepared}' is not there: config/runs/openstax.yaml makes it, or give another"
        )
    if given.passages < 4:
        raise SystemExit(f"--passages {given.passages}; allowed: 4 and more, as a question has four options")
    stored = StoredPassages.open(given.prepared)
    texts = [words for _, text in stored.run(0, len(stored)) if len(words := text.split()) >= WORDS[1]]
    spread = random.Random("questions").sample(range(given.passages), min(given.passages, 4 * given.questions))
    wanted, pairs = set(spread), {}
    given.folder.mkdir(parents=True, exist_ok=True)
    with (given.folder / "passages.jsonl").open("w") as file:
        for begin in range(0, given.passages, AT_ONCE):
            rng = random.Random(begin)
            for number in range(begin, min(begin + AT_ONCE, given.passages)):
                text = rng.choice(texts)
                pair = sentence(rng, text, texts), sentence(rng, text, texts)
                if number in wanted:
                    pairs[number] = pair
                file.write(json.dumps({"id": f"p{number}", "title": "", "text": " ".join(pair)}) + "\n")
    with (given.folder / "questions.jsonl").open("w") as file:
        for number in range(given.questions):
            file.write(json.dumps(question(number, given.questions, pairs, texts)) + "\n")
    print(f"{given.folder}: {given.passages:,} passages, {given.questions:,} questions")


if __name__ == "__main__":
    main()
