"""Texts are the same where nothing that matters differs."""

from __future__ import annotations

from jmlr.corpus.seen import normalised, text_hash


def test_texts_that_differ_in_case_blanks_or_compatibility_forms_are_the_same() -> None:
    assert text_hash("Fever  of\n5 µg") == text_hash("fever of 5 μg ")
    assert text_hash("ﬁbre") == text_hash("fibre")
    assert text_hash("fever") != text_hash("fevers")
    assert normalised("STRASSE") == normalised("straße")
