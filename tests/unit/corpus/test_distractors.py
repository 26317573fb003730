"""Open questions as multiple choice: wrong options of the same section, the same for the same seed and id."""

import pytest

from jmlr.corpus.distractors import multiple_choice


def asked(id, answer, section="m1", subject="Anatomy", options=()):
    return {"id": id, "dataset": "glossary", "gold_section": section, "subject": subject, "options": list(options),
            "answer": 0 if options else -1, "answer_text": answer}  # fmt: skip


TERMS = [asked(f"q{i}", term) for i, term in enumerate(("aorta", "vein", "capillary", "arteriole", "venule"))]


def test_wrong_options_are_answers_of_the_same_section_and_the_key_is_right():
    elsewhere = [asked(f"x{i}", f"bone {i}", section="m2") for i in range(9)]
    made, still_open = multiple_choice([*TERMS, *elsewhere], 3, 0)
    assert still_open == 0
    for question, before in zip(made[:5], TERMS, strict=True):
        assert len(question["options"]) == len(set(question["options"])) == 4
        assert question["options"][question["answer"]] == question["answer_text"] == before["answer_text"]
        assert not any(option.startswith("bone") for option in question["options"])


def test_the_place_of_the_key_and_the_options_depend_on_seed_and_id_alone():
    made, _ = multiple_choice(TERMS, 3, 0)
    assert multiple_choice([*TERMS[:1], asked("new", "radius", section="m9"), *TERMS[1:]], 3, 0)[0][0] == made[0]
    assert multiple_choice(TERMS, 3, 1)[0] != made
    many = [asked(f"q{i}", f"term{i}") for i in range(400)]
    places = [q["answer"] for q in multiple_choice(many, 3, 0)[0]]
    assert all(70 <= places.count(place) <= 130 for place in range(4))


@pytest.mark.parametrize("like", ["Aorta", "abdominal aorta", "the  AORTA wall"])
def test_an_answer_that_holds_the_right_one_is_no_wrong_option(like):
    terms = [asked("q", "aorta"), asked("q2", like), *(asked(f"r{i}", f"term{i}") for i in range(3))]
    assert like not in multiple_choice(terms, 3, 0)[0][0]["options"]


def test_a_small_section_is_filled_from_its_subject_and_else_the_question_stays_open():
    few = [
        asked("a", "hilum", "m3"),
        asked("b", "pleura", "m3"),
        asked("c", "lobe", "m4"),
        asked("d", "alveolus", "m5"),
    ]
    made, still_open = multiple_choice([*few, asked("e", "femur", "m6", subject="Bones")], 3, 0)
    assert still_open == 1
    assert {*made[0]["options"]} == {"hilum", "pleura", "lobe", "alveolus"}
    assert made[4] == asked("e", "femur", "m6", subject="Bones")


def test_questions_with_options_or_without_an_answer_are_left_alone():
    given = [asked("a", "x", options=("x", "y")), asked("b", ""), *TERMS]
    made, still_open = multiple_choice(given, 3, 0)
    assert made[:2] == given[:2]
    assert still_open == 0
