"""What counts as a choice, and what does not."""

from __future__ import annotations

import pytest

from jmlr.corpus.replies import parse_option, parse_thought

DRUGS = ["Aspirin", "Ibuprofen", "Vitamin B12", "None of the above"]


@pytest.mark.parametrize(
    "reply",
    [
        "B", "B.", "(B)", "[B]", "B)", "B:", " B \n", "**B**", "B. Ibuprofen", "(B) ibuprofen", "B) Ibuprofen.", "B - Ibuprofen",
        "Ibuprofen", "ibuprofen.", "**Ibuprofen**", "Answer: B", "Correct Answer: B. Ibuprofen", "The correct answer is B.",
        "The correct answer is (B) Ibuprofen", "The best answer is: B", "So the answer is B", "The answer is option B", "Option: B",
        "The correct answer is **B**.", "**B**. Ibuprofen", "Answer: **B**.", "**Final Answer**: **B. Ibuprofen**.", r"\boxed{B}",
        'The answer is "B".', "**Answer:** *B*", r"The answer is $\boxed{\text{B}}$.", r"\[ \boxed{B} \]", "\\[\n\\boxed{B}\n\\]",
        "The answer is `B`.", "The answer is “B”.", "'B'", "The answer is **(B)** *Ibuprofen*", "__B__) Ibuprofen", r"\(\mathrm{B}\)",
        "**The correct answer is B**", 'The answer is "Ibuprofen".', r"The final answer is: $$\boxed{B.\ Ibuprofen}$$".replace("\\ ", " "),
        "The final answer is Ibuprofen.", "B\n\nExplanation: Aspirin (A) would bleed.", "\n\nB\nQuestion: another? Answer: C",
    ],
)  # fmt: skip
def test_a_choice_is_read(reply):
    assert parse_option(reply, DRUGS) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "", "   \n", "A or B", "A and B", "A, B", "AB", "Either.", "E", "b", "B. Aspirin", "(B) Vitamin B12", "I think it is B",
        "A 45-year-old man has a fever", "Ibuprofen or aspirin", "Not B", "The answer is not B", "The answer is A or B", "1", "BC",
        "As a language model I cannot answer.", "Ibuprofen is a drug", "The answer is E", "Bananas", "Ｂ?",
        "**A** or **B**", "**A**, **B**", r"\boxed{A} or \boxed{B}", "Not **B**", "**B**. Aspirin", r"\boxed{B} Aspirin", '"A" "B"',
        r"\boxed{AB}", r"\boxed{}", "****", "$$",
    ],
)  # fmt: skip
def test_what_is_no_choice_is_unparsed_and_never_a_guess(reply):
    assert parse_option(reply, DRUGS) == -1


def test_options_that_are_letters_themselves_are_not_guessed_at():
    groups = ["AB", "B", "A", "O"]
    assert parse_option("AB", groups) == 0
    assert parse_option("A", groups) == -1  # letter A says 0, the text says 2
    assert parse_option("B", groups) == 1  # both readings agree
    assert parse_option("C. A", groups) == 2


def test_equal_options_need_their_letter():
    assert parse_option("same", ["same", "Same", "other"]) == -1
    assert parse_option("B. same", ["same", "Same", "other"]) == 1


def test_yes_no_maybe_are_read_as_text():
    assert [parse_option(r, ["yes", "no", "maybe"]) for r in ("Yes.", "no", "maybe", "yes and no")] == [0, 1, 2, -1]


def test_a_thought_is_taken_apart():
    thought = parse_thought("NSAIDs inhibit COX [P2].\nB12 does not [P1, P3] [P2].\n\n**Answer:** B. Ibuprofen", DRUGS)
    assert thought.option == 1
    assert thought.rationale == "NSAIDs inhibit COX [P2].\nB12 does not [P1, P3] [P2]."
    assert thought.cited == (2, 1, 3)


@pytest.mark.parametrize(
    ("reply", "option"),
    [
        ("Because.\nAnswer: B", 1), ("Because.\nFinal answer: (B)", 1), ("Because.\nAnswer:\nB", 1), ("Answer: B", 1),
        ("Because.\nAnswer: B\nAnswer: B. Ibuprofen", 1), ("Because.\nAnswer: B\nNo.\nAnswer: C", -1), ("Because B", -1),
        ("B", -1), ("The answer is B", -1), ("Because.\nAnswer:", -1), ("Because.\nAnswer: A or B", -1), ("", -1),
    ],
)  # fmt: skip
def test_a_thought_chooses_in_its_answer_line_or_not_at_all(reply, option):
    assert parse_thought(reply, DRUGS).option == option


def test_marks_that_are_part_of_an_option_do_not_hide_it():
    options = ["5'-nucleotidase", "Crohn's and Wilson's", "HLA-A*02 or HLA-B*27", "$50 and $60", "a_b_c"]
    assert [parse_option(o, options) for o in options] == [0, 1, 2, 3, 4]
    assert [parse_option(f"**{o}**", options) for o in options] == [0, 1, 2, 3, 4]
    assert parse_option("\"B. Crohn's and Wilson's\".", options) == 1


@pytest.mark.parametrize(
    "last", ["**Answer**: **B**", "**Final Answer:** \\boxed{B}", 'Answer: "B".', "Answer:\n\\[\n\\boxed{B}\n\\]"]
)
def test_marks_around_the_answer_of_a_thought_are_taken_out_and_the_rationale_stays_as_written(last):
    thought = parse_thought(f"It is *not* **A** [P1].\n{last}", DRUGS)
    assert (thought.option, thought.rationale) == (1, "It is *not* **A** [P1].")
