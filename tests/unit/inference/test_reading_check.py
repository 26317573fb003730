"""Whether joint training can work is said before it begins."""

from dataclasses import replace

import pytest
import torch

from jmlr.inference import reading_check
from jmlr.inference.reading_check import ReadingCheck, answer_pattern, by_gold, by_words, check_reading, report
from toys import open_session


@pytest.fixture(scope="module")
def session(tiny, candidates):
    return open_session(tiny, candidates)


def test_the_check_compares_the_gold_passage_with_another_candidate(session):
    found = check_reading(
        session.llm, session.passages, session.questions, seed=0, **session.step_settings.computing, most=6
    )
    assert found.questions == 6
    assert found.present > 0
    assert found == check_reading(
        session.llm, session.passages, session.questions, seed=0, **session.step_settings.computing, most=6
    )
    question = session.questions[0]
    for find in (by_words, by_gold):
        present, absent = find(question, session.passages)
        assert present in question.gold
        assert absent not in question.gold


def test_of_many_gold_passages_one_that_holds_the_answer_is_taken(session):
    question = session.questions[0]
    (right,) = question.gold
    empty = min(r for r in range(right + 2) if r != right)  # of the same section, but without the answer
    present, absent = by_words(replace(question, gold=frozenset({empty, right})), session.passages)
    assert present == right
    assert absent not in (empty, right)


def test_without_gold_the_answer_s_words_tell_which_passage_holds_it(session):
    question = session.questions[0]
    [(title, _)] = session.passages.titles_and_texts(question.candidates[:1])
    pair = by_words(replace(question, gold=frozenset(), answer_text=title), session.passages)
    assert pair is None or answer_pattern(title).search(" ".join(session.passages.titles_and_texts([pair[0]])[0]))
    assert by_words(replace(question, gold=frozenset(), answer_text="no"), session.passages) is None
    assert answer_pattern("Beta-blocker").search("a BETA blocker, given")
    assert not answer_pattern("aspirin").search("aspirins")


def test_a_model_that_reads_works_and_one_that_does_not_is_warned_of(session, capsys, monkeypatch):
    def reads(llm, passages, part, columns, **_):
        return torch.tensor([[0.5 + 0.01 * i, 2.0] for i in range(len(part))])

    monkeypatch.setattr(reading_check, "passage_losses", reads)
    found = check_reading(session.llm, session.passages, session.questions, seed=0, **session.step_settings.computing)
    assert found.works
    report(found, "train")
    assert "warning" not in capsys.readouterr().err
    report(ReadingCheck(64, 2.0, 2.01, 0.1), "train")
    assert "nothing to teach the retriever" in capsys.readouterr().err.replace("\n", " ")
    assert "1.900 with another (64 questions): 0.100 more, standard" in str(ReadingCheck(64, 2.0, 1.9, 0.1))
    report(None, "train")
    assert "cannot be told" in capsys.readouterr().err


def test_no_question_with_both_kinds_of_passage_gives_no_figure(session):
    bare = [replace(q, gold=frozenset(), answer_text="") for q in session.questions]
    assert check_reading(session.llm, session.passages, bare, seed=0, **session.step_settings.computing) is None
