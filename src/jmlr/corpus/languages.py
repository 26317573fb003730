"""Which language a text most likely is in: by its script, and in Latin letters by the commonest words of eight languages.

>>> language("The treatment of gout is with colchicine, and it is given for a week.")
'English'
>>> language("患者は発熱した")
'Japanese'
>>> language("X7 Q9")
'unknown'

A hint for people, who see at once that a model reads another language; nothing depends on it.
"""

from __future__ import annotations

import re
from collections import Counter

import regex

SCRIPTS = {
    "Hiragana": "Japanese", "Katakana": "Japanese", "Hangul": "Korean", "Han": "Chinese", "Cyrillic": "Russian or another in Cyrillic",
    "Arabic": "Arabic or another in its script", "Devanagari": "Hindi or another in Devanagari", "Greek": "Greek", "Hebrew": "Hebrew",
    "Thai": "Thai",
}  # fmt: skip
COMMON = {
    "English": "the of and to in is with for are by was that",
    "German": "der die das und ist mit von den eine bei nicht werden",
    "French": "le la les des et une est dans pour avec sont qui",
    "Spanish": "el los las y una es con por del para se que",
    "Italian": "il di che della con per una sono nel gli dei",
    "Portuguese": "o os uma com não para em dos da do são",
    "Dutch": "het een van en met voor zijn niet op wordt",
    "Polish": "i w nie się na jest z do lub przez",
}
_WORDS = {name: set(words.split()) for name, words in COMMON.items()}
_LETTERS = {name: regex.compile(rf"\p{{Script={name}}}") for name in SCRIPTS}
_LATIN = regex.compile(r"\p{Script=Latin}")
SHARE = 0.3  # of a text's letters that makes it one of a script: clinical texts hold Latin names and doses
FEWEST = 0.05  # of a text's words that are a language's commonest ones


def language(text: str) -> str:
    """Return the likeliest language of a text, or 'unknown'."""
    counts = {name: len(letters.findall(text)) for name, letters in _LETTERS.items()}
    total = sum(counts.values()) + len(_LATIN.findall(text))
    for name, spoken in SCRIPTS.items():
        kana = name in ("Hiragana", "Katakana") and counts[name] > 0 and counts[name] > 0.1 * total
        if total and (kana or counts[name] > SHARE * total):
            return spoken
    words = re.findall(r"[^\W\d_]+", text.lower())
    known = {name: sum(w in common for w in words) for name, common in _WORDS.items()}
    best = max(known, key=lambda n: known[n])
    return best if words and known[best] > max(1, FEWEST * len(words)) else "unknown"


def languages(texts: list[str]) -> dict[str, float]:
    """Return language -> share of the texts, the commonest first."""
    counts = Counter(map(language, texts))
    return {name: count / len(texts) for name, count in counts.most_common()}
