"""Citations and concepts of rationales."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from jmlr.corpus.citations import cited
from jmlr.corpus.replies import parse_thought
from jmlr.metrics import answered, rows
from jmlr.metrics.citation_grounded import citation_grounded
from jmlr.metrics.citation_precision import citation_precision
from jmlr.metrics.concepts.vocabulary import TERMS, committed_terms, extra, extractor, tokens, vocabulary
from jmlr.metrics.umls_f import umls_f
from jmlr.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("As [P2] and [P1, P3] say [P2]; [p4] too. Not P5, not [7], not (P8), not [see above].", (2, 1, 3, 4)),
        ("[ P2 ; 3] [P1 and P3]", (2, 3, 1)),
        ("[see P2] and [P4, p. 7]", (2, 4)),
        ("[P1-P3] [P5\u20136]", (1, 2, 3, 5, 6)),
        ("[P3-P1] [P7-P9999]", (3, 1, 7, 9999)),
        ("[P12345678901]", ()),
        ("", ()),
    ],
)
def test_citations_are_read_in_every_bracketed_form_once_each_and_the_same_by_answer_and_the_metrics(text, numbers):
    assert parse_thought(f"{text}\nAnswer: A", ["x", "y"]).cited == numbers
    assert cited(text) == numbers


def test_citation_precision_counts_a_number_beyond_the_passages_as_wrong():
    assert citation_precision([1, 2, 9], ["a", "b"], {"b", "c"}) == pytest.approx(1 / 3)
    assert citation_grounded([1, 2, 9], ["a", "b"]) == pytest.approx(2 / 3)
    assert citation_precision([], [], {"b"}) == citation_grounded([], []) == 0


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Heart attacks and fevers.", {"myocardial infarction", "fever"}),
        ("High blood pressure, not pressure", {"hypertension"}),
        ("Iron deficiency anemia of the heart", {"iron deficiency anemia", "heart"}),
        ("sepsis; diabetes; arthritis of nobody", {"sepsis", "diabetes mellitus"}),
        ("", set()),
    ],
)
def test_the_open_vocabulary_finds_the_longest_terms_and_their_synonyms(text, concepts):
    assert vocabulary(committed_terms())(text) == concepts


def test_every_line_of_the_word_list_is_one_concept_and_no_term_is_in_two():
    lines = [x for x in TERMS.read_text().splitlines() if x and not x.startswith("#")]
    terms = [tuple(tokens(t)) for line in lines for t in line.split("=")]
    assert len(lines) > 400
    assert sorted({t for t in terms if terms.count(t) > 1}) == []
    assert all(0 < len(t) <= 5 for t in terms)


def test_a_run_brings_its_own_terms_as_far_as_the_texts_hold_them():
    texts = ["Loop of Henle reabsorbs salt.", "The nephron filters."]
    assert extra(["Loop of Henle", "Nephrons", "Glomerulus", "of", "The"], texts) == {
        "Loop of Henle": "loop of henle",
        "Nephrons": "nephron",
    }


def test_umls_f_is_the_f1_of_two_sets():
    assert umls_f({"a", "b", "c"}, {"b", "c", "d", "e"}) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert umls_f({"a"}, {"b"}) == 0.0
    assert umls_f(set(), {"b"}) == 0.0
    with pytest.raises(ValueError, match="without concepts"):
        umls_f({"a"}, set())


def test_an_extractor_comes_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "my_umls.py").write_text(
        "def concepts(text):\n    return {w for w in text.split() if w.startswith('C0')}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert extractor("my_umls:concepts")("C01 x C02") == {"C01", "C02"}
    sys.modules.pop("my_umls")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quickumls", "allowed: 'module:function'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("json:nothing", "no attribute 'nothing'"),
        ("json:__name__", "not a function"),
    ],
)
def test_an_extractor_that_is_not_there_is_one_line(name, said):
    with pytest.raises(UserError, match=said):
        extractor(name)


def test_rationale_rows_take_the_citations_that_answer_resolved_else_those_of_the_text():
    questions = {q: {"gold_ids": ["g"], "explanation": "malaria and fever"} for q in ("q1", "q2")}
    common = {"dataset": "d", "split": "test", "ids": ["g", "h"]}
    answers = [
        {**common, "question_id": "q1", "rationale": "malaria [P1]", "citations": [1, 5], "cited_ids": ["h"]},
        {**common, "question_id": "q2", "rationale": "fever [P1]", "citations": None, "cited_ids": None},
    ]
    figures = {r[3]: r[5] for r in rows(answered(answers, questions, vocabulary(committed_terms())), 0)}
    assert figures == {
        "citation_grounded": [0.5, 1.0],
        "citation_precision": [0.0, 1.0],
        "umls_f": [pytest.approx(2 / 3), pytest.approx(2 / 3)],
    }


def test_a_rationale_that_is_empty_or_cites_nothing_counts_as_0_where_the_system_writes_any():
    questions = {q: {"gold_ids": ["g"], "explanation": "malaria"} for q in ("q1", "q2", "q3", "q4")}
    questions["q3"] = {"gold_ids": [], "explanation": ""}
    common = {"split": "test", "ids": ["g", "h"], "citations": [], "cited_ids": []}
    written = {"rationale": "malaria [P1]", "citations": [1], "cited_ids": ["g"]}
    answers = [
        {**common, "dataset": "d", "question_id": "q1", **written},
        {**common, "dataset": "d", "question_id": "q2", "rationale": ""},
        {**common, "dataset": "d", "question_id": "q3", "rationale": "No passage says it."},
        {**common, "dataset": "closed", "question_id": "q4", "rationale": None, "ids": []},
    ]
    find = vocabulary(committed_terms())
    assert {r[1:2] + r[3:4]: r[5] for r in rows(answered(answers, questions, find), 0)} == {
        ("d", "citation_grounded"): [1.0, 0.0, 0.0],
        ("d", "citation_precision"): [1.0, 0.0],
        ("d", "umls_f"): [1.0, 0.0],
        ("closed", "umls_f"): [0.0],  # nothing was read: nothing could be cited
    }
    unasked = [{**a, "rationale": "", "citations": [], "cited_ids": []} for a in answers]
    assert list(rows(answered(unasked, questions, find), 0)) == []


@pytest.mark.real
def test_the_open_vocabulary_tells_explanations_of_doctors_apart(data):
    """CasiMedicos: nearly every explanation has a concept; the half of one resembles it more than the next one does."""
    with gzip.open(data / "data/qa/casimedicos_en_train.jsonl.gz", "rt", encoding="utf-8") as f:
        texts = [t for t in (json.loads(line).get("explanation") or "" for line in f) if len(t) > 100]
    find = vocabulary(committed_terms())
    found = [find(t) for t in texts]
    assert len(texts) > 300
    assert sum(map(bool, found)) / len(found) > 0.9
    pairs = [(t, own, after) for t, own, after in zip(texts, found, found[1:], strict=False) if own]
    half = sum(umls_f(find(t[: len(t) // 2]), own) for t, own, _ in pairs) / len(pairs)
    other = sum(umls_f(after, own) for _, own, after in pairs) / len(pairs)
    assert half > 0.5 > 0.2 > other
