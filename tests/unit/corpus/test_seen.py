"""The table of hashes is a dictionary that knows only the first number of each key."""

from __future__ import annotations

import random

from jmlr.corpus.seen import Seen, exact_hash, normalised, text_hash


def test_seen_is_a_dictionary_of_first_numbers_over_many_growths() -> None:
    rng, seen, twin = random.Random(0), Seen(), {}
    for number in range(40_000):
        key = exact_hash(str(rng.randrange(20_000)))
        assert seen.first(key, number) == twin.setdefault(key, number)
    assert len(seen) == len(twin) > 10_000


def test_texts_that_differ_in_case_blanks_or_compatibility_forms_are_the_same() -> None:
    assert text_hash("Fever  of\n5 µg") == text_hash("fever of 5 μg ")
    assert text_hash("ﬁbre") == text_hash("fibre")
    assert text_hash("fever") != text_hash("fevers")
    assert normalised("STRASSE") == normalised("straße")
