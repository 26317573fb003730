"""Messages repeat little of the data, and nothing of private data."""

from __future__ import annotations

from jmlr.corpus.quotes import closest, hidden, quoted


def test_a_value_is_shown_on_one_line_and_cut():
    assert quoted("a\nb") == "'a b'"
    assert quoted("x" * 41) == f"'{'x' * 40}...'"


def test_nothing_of_private_data_is_shown_not_even_the_names_of_columns():
    with hidden(True):
        assert quoted("Mr Smith, 54") == "(private)"
        assert closest("txt", ["text"]) == ""
        with hidden(False):
            assert quoted("Mr Smith") == "(private)", "an inner block does not open an outer one"
    assert closest("txt", ["text"]) == " (did you mean 'text'?)"


def test_a_hint_cuts_long_names():
    assert "y" * 41 not in closest("txt", ["y" * 60])
