"""A world in which only reading the right passage answers a question.

Diseases have names of three syllable tokens; each has one value (one token) for each of several attributes. Each fact is
one passage: a sentence that states it and a sentence of no use. Diseases of the splits are disjoint, so nothing can be
remembered. All values of a disease come from one of a few "families": a passage about the right disease but the wrong
attribute still narrows the answer down, which is what lets the LLM's losses grade passages (docs/demo.md).

    write_world(Path("raw"), seed=0, train_entities=150, ...)   # passages, questions, documents (.jsonl), tokenizer.json
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jmlr.demo import language as say
from jmlr.runtime.seeds import python_random

QA_SHARE, ABSENT_SHARE, CURRICULUM_SHARE, TWO_DISEASES_SHARE = 0.3, 0.25, 0.15, 0.25


@dataclass(frozen=True)
class Disease:
    """A name and one value for each attribute."""

    name: str
    values: list[str]


@dataclass
class Lexicon:
    """Syllables for names, words for values; the same seed gives the same words."""

    rng: random.Random
    families: int
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        syllables = [a + b + c for a in say.CONSONANTS for b in say.VOWELS for c in say.CODAS]
        self.rng.shuffle(syllables)
        self.first, self.second, rest = syllables[:40], syllables[40:80], syllables[80:]
        self.values = [a + b for a, b in zip(rest[:200], rest[200:400], strict=True)]

    def name(self, rng: random.Random, fresh: bool) -> str:
        """Return a disease name; a fresh one was never given before and will not be given again."""
        while True:
            name = rng.choice(self.first) + rng.choice(self.second) + rng.choice(say.DISEASE_ENDINGS)
            if name not in self.used:
                if fresh:
                    self.used.add(name)
                return name.capitalize()

    def family(self, number: int) -> list[str]:
        """Return the values of one family."""
        size = len(self.values) // self.families
        return self.values[number * size : (number + 1) * size]

    def disease(self, rng: random.Random, attributes: int, fresh: bool) -> Disease:
        """Invent a disease whose values come from one family."""
        name = self.name(rng, fresh)
        return Disease(name.lower().capitalize(), rng.sample(self.family(rng.randrange(self.families)), attributes))

    def vocabulary(self, prompts: Iterable[str], *more: str) -> list[str]:
        """Return the tokens: special ones, `more`, words, values, then the syllables of names."""
        whole = sorted(say.words(prompts) | set(self.values) | set(self.first))
        return [
            "<pad>",
            "<unk>",
            "<s>",
            "</s>",
            *more,
            *whole,
            *sorted("##" + s for s in (*self.second, *say.DISEASE_ENDINGS)),
        ]


def write_world(
    folder: Path,
    *,
    seed: int,
    train_entities: int,
    dev_entities: int,
    test_entities: int,
    attributes: int,
    families: int,
    questions_per_fact: int,
    test_questions: int,
    documents: int,
    passages_per_document: int,
    notes_per_document: int,
    explanations: bool,
    passage_prompt: str,
    question_prompt: str,
    answer_prompt: str,
) -> None:
    """Write the world's four files; see `jmlr.options.DemoOptions` and `PromptOptions` for the settings."""
    lexicon = Lexicon(python_random(seed, "lexicon"), families)
    sizes = {"train": train_entities, "dev": dev_entities, "test": test_entities}
    rng = python_random(seed, "entities")
    diseases = {split: [lexicon.disease(rng, attributes, fresh=True) for _ in range(n)] for split, n in sizes.items()}
    rng = python_random(seed, "passages")
    passages = [_passage(rng, d, a) for ds in diseases.values() for d in ds for a in range(attributes)]
    _write(folder / "passages.jsonl", passages)
    rng = python_random(seed, "questions")
    questions = _questions(rng, lexicon, diseases, questions_per_fact, test_questions)
    if explanations:
        told = {p["id"]: p["text"] for p in passages}
        questions = ({**q, "explanation": _explained(q, told)} for q in questions)
    _write(folder / "questions.jsonl", questions)
    rng = python_random(seed, "documents")
    prompts = (passage_prompt, question_prompt, answer_prompt)
    counts = (lexicon, attributes, passages_per_document, notes_per_document, prompts, explanations)
    _write(folder / "documents.jsonl", (_document(rng, i / max(documents, 1), *counts) for i in range(documents)))
    vocabulary = lexicon.vocabulary([*prompts, say.REASONED], "\n") if explanations else lexicon.vocabulary(prompts)
    (folder / "tokenizer.json").write_text(_tokenizer(vocabulary), encoding="utf-8")


def _write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as f:
        f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in records)


def _told(rng: random.Random, disease: Disease, attribute: int) -> str:
    """Phrase a fact as a passage of two sentences, in either order."""
    fact = f"{disease.name} {rng.choice(say.ATTRIBUTES[attribute][1])} {disease.values[attribute]}."
    filler = rng.choice(say.FILLERS).format(adjective=rng.choice(say.ADJECTIVES), people=rng.choice(say.PEOPLE))
    sentences = [fact, f"{disease.name} {filler}."]
    rng.shuffle(sentences)
    return " ".join(sentences)


def _passage(rng: random.Random, disease: Disease, attribute: int) -> dict[str, Any]:
    return {
        "id": f"{disease.name.lower()}-{say.ATTRIBUTES[attribute][0]}",
        "title": "",
        "text": _told(rng, disease, attribute),
    }


def _asked(rng: random.Random, disease: Disease, attribute: int) -> str:
    vignette = rng.choice(say.VIGNETTES).format(
        sex=rng.choice(say.SEXES), age=rng.choice(say.AGES), disease=disease.name
    )
    return f"{vignette} {rng.choice(say.ATTRIBUTES[attribute][2]).capitalize()}?"


def _question(rng: random.Random, lexicon: Lexicon, disease: Disease, attribute: int) -> dict[str, Any]:
    """Ask for one value; the other options are one more value of the disease and two of its family."""
    gold = disease.values[attribute]
    family = next(f for f in map(lexicon.family, range(lexicon.families)) if gold in f)
    own = rng.choice([v for v in disease.values if v != gold])
    options = [gold, own, *rng.sample([v for v in family if v not in disease.values], 2)]
    rng.shuffle(options)
    return {
        "question": _asked(rng, disease, attribute),
        "options": dict(zip("ABCD", options, strict=True)),
        "answer": "ABCD"[options.index(gold)],
        "gold_ids": [f"{disease.name.lower()}-{say.ATTRIBUTES[attribute][0]}"],
        "subject": say.ATTRIBUTES[attribute][0],
    }


def _explained(question: dict[str, Any], told: dict[str, str]) -> str:
    """Return the sentence of a question's gold passage that states the answer, and cites that passage by its id."""
    [id], value = question["gold_ids"], question["options"][question["answer"]]
    [fact] = re.findall(rf"[^.]+ {value}(?=\.)", told[id])
    return f"{fact.strip()} [{id}]."


def _questions(
    rng: random.Random, lexicon: Lexicon, diseases: dict[str, list[Disease]], per_fact: int, tested: int
) -> Iterator[dict[str, Any]]:
    """Yield `per_fact` questions about every training fact, and one each about drawn facts of the other splits."""
    for split, members in diseases.items():
        facts = [(d, a) for d in members for a in range(len(d.values))]
        asked = facts * per_fact if split == "train" else rng.sample(facts, min(tested, len(facts)))
        for number, (disease, attribute) in enumerate(asked):
            yield {"id": f"{split}-{number}", "split": split, **_question(rng, lexicon, disease, attribute)}


def _document(
    rng: random.Random,
    progress: float,
    lexicon: Lexicon,
    attributes: int,
    most_passages: int,
    notes: int,
    prompts: tuple[str, str, str],
    cite: bool,
) -> dict[str, Any]:
    """Some passages in the run's own prompts, then notes or questions about them with answers; documents grow longer after a while (a curriculum).

    A quarter of the notes ask for what the passages do not say, so that the model also learns to guess within the family.
    cite: passages are numbered, and a note cites the one that says it, as numbers stand in front of a rationale.
    """
    count = rng.randint(1, min(3, most_passages) if progress < CURRICULUM_SHARE else most_passages)
    diseases = [
        lexicon.disease(rng, attributes, fresh=False) for _ in range(2 if rng.random() < TWO_DISEASES_SHARE else 1)
    ]
    facts = rng.sample([(d, a) for d in diseases for a in range(attributes)], count)
    passage, question, answer = prompts
    numbers = rng.sample(range(1, count + 1), count) if cite else []
    tags = [f"[P{n}] " for n in numbers] or [""] * count
    told = (passage.format(title="", passage=_told(rng, d, a)) for d, a in facts)
    text, targets = "".join(tag + passage for tag, passage in zip(tags, told, strict=True)), []
    as_question = rng.random() < QA_SHARE
    for _ in range(2 if as_question else notes):
        known = rng.random() >= ABSENT_SHARE
        disease, attribute = rng.choice(facts) if known else (rng.choice(diseases), rng.randrange(attributes))
        if as_question:
            text += question.format(question=_asked(rng, disease, attribute), options="") + answer
        else:
            text += say.NOTE.format(disease.name, rng.choice(say.ATTRIBUTES[attribute][2]))
        value = disease.values[attribute]
        if cite and not as_question and (disease, attribute) in facts:
            value += f" {tags[facts.index((disease, attribute))].strip()}"
        text += "" if text[-1:].isspace() else " "
        targets.append([len(text), len(text) + len(value)])
        text += f"{value}\n"
    return {"text": text, "targets": targets}


def _tokenizer(vocabulary: list[str]) -> str:
    """Return a WordPiece tokenizer that reads names syllable by syllable, as the JSON of the tokenizers library.

    A line break that is in the vocabulary is a token, so that what a model writes has lines; else it is a blank as others.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in vocabulary[:4]])
    if "\n" in vocabulary:
        tokenizer.add_tokens([AddedToken("\n", normalized=False)])
    return tokenizer.to_str(pretty=True)
