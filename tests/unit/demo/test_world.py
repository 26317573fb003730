import hashlib
import json
import re

from tokenizers import Tokenizer

from jmlr.corpus.replies import parse_thought
from jmlr.demo.language import concepts
from jmlr.demo.world import write_world
from jmlr.options import DemoOptions
from toys import PROMPTS

BEFORE = {  # what this world was before it could have explanations
    "documents.jsonl": "3c8caf440ce7",
    "passages.jsonl": "4dc90c57664d",
    "questions.jsonl": "f14a24d379c4",
    "tokenizer.json": "fe46c6d1af5d",
}


def made(folder, **changes):
    folder.mkdir()
    settings = {
        **DemoOptions(train_entities=8, dev_entities=4, test_entities=6, test_questions=20, documents=50).model_dump(),
        **PROMPTS.model_dump(),
        **changes,
    }
    write_world(folder, **settings)
    return [
        [json.loads(x) for x in (folder / f"{n}.jsonl").read_text().splitlines()]
        for n in ("passages", "questions", "documents")
    ]


def test_no_disease_of_one_split_is_asked_about_in_another(tmp_path):
    _, questions, _ = made(tmp_path / "w")
    asked = {
        s: {q["gold_ids"][0].split("-")[0] for q in questions if q["split"] == s} for s in ("train", "dev", "test")
    }
    assert all(asked.values())
    assert not asked["train"] & asked["test"]
    assert not asked["dev"] & asked["test"]
    assert not asked["train"] & asked["dev"]


def test_the_gold_passage_states_the_answer_and_no_option_is_given_twice(tmp_path):
    passages, questions, _ = made(tmp_path / "w")
    texts = {p["id"]: p["text"] for p in passages}
    for q in questions:
        assert q["options"][q["answer"]] in texts[q["gold_ids"][0]]
        assert len(set(q["options"].values())) == 4


def test_documents_never_tell_of_a_disease_that_is_asked_about(tmp_path):
    passages, _, documents = made(tmp_path / "w")
    names = {p["id"].split("-")[0] for p in passages}
    assert not any(name in d["text"].lower() for d in documents for name in names)
    assert all(d["text"][b:e].isalpha() for d in documents for b, e in d["targets"])


def test_the_tokenizer_knows_every_word_and_a_seed_gives_one_world(tmp_path):
    passages, questions, _ = made(tmp_path / "w")
    tokenizer = Tokenizer.from_file(str(tmp_path / "w/tokenizer.json"))
    assert not any("<unk>" in tokenizer.encode(p["text"]).tokens for p in passages)
    assert not any("<unk>" in tokenizer.encode(q["question"]).tokens for q in questions)
    made(tmp_path / "again")
    made(tmp_path / "other", seed=1)
    assert (tmp_path / "w/questions.jsonl").read_bytes() == (tmp_path / "again/questions.jsonl").read_bytes()
    assert (tmp_path / "w/questions.jsonl").read_bytes() != (tmp_path / "other/questions.jsonl").read_bytes()


def test_documents_are_written_in_the_run_s_prompts_and_the_tokenizer_knows_their_words(tmp_path):
    prompts = {
        "passage_prompt": "<Source> {passage}\n",
        "question_prompt": "Problem; {question}\n",
        "answer_prompt": "Reply = ",
    }
    passages, questions, documents = made(tmp_path / "a", **prompts)
    asked = [d for d in documents if "Problem; " in d["text"]]
    assert asked
    assert all(d["text"].startswith("<Source> ") for d in documents)
    for document in asked:
        assert not any(word in document["text"] for word in ("Reference", "Question", "Answer"))
        for begin, end in document["targets"]:
            assert document["text"][:begin].endswith("Reply = ")
            assert document["text"][begin:end].isalpha()
    tokenizer = Tokenizer.from_file(str(tmp_path / "a/tokenizer.json"))
    assert "<unk>" not in tokenizer.encode("<Source> Problem; Reply = ").tokens
    again = made(tmp_path / "b")
    assert (again[0], again[1]) == (passages, questions)


def test_without_explanations_every_byte_is_as_before(tmp_path):
    made(tmp_path / "w")
    found = {f.name: hashlib.sha256(f.read_bytes()).hexdigest()[:12] for f in (tmp_path / "w").iterdir()}
    assert found == BEFORE


def test_an_explanation_states_the_fact_as_the_gold_passage_does_and_cites_it(tmp_path):
    passages, questions, _ = made(tmp_path / "w", explanations=True)
    plain = made(tmp_path / "plain")
    assert passages == plain[0]
    assert [{k: v for k, v in q.items() if k != "explanation"} for q in questions] == plain[1]
    texts = {p["id"]: p["text"] for p in passages}
    for q in questions:
        [gold] = q["gold_ids"]
        fact, _, cited = q["explanation"].partition(" [")
        assert cited == f"{gold}]."
        assert f"{fact}." in texts[gold]
        assert fact.endswith(q["options"][q["answer"]])
        disease = gold.partition("-")[0]
        assert concepts(q["explanation"]) == {disease, q["options"][q["answer"]]}


def test_a_note_of_a_document_cites_the_passage_that_says_its_value(tmp_path):
    *_, documents = made(tmp_path / "w", explanations=True)
    cited = 0
    for document in documents:
        told = dict(re.findall(r"\[(P\d)\] (Reference: [^\n]*)\n", document["text"]))
        assert sorted(told) == [f"P{n}" for n in range(1, len(told) + 1)]
        for value, number in re.findall(r"^Note: .*: (\w+) \[(P\d)\]$", document["text"], re.M):
            assert f" {value}." in told[number]
            cited += 1
    assert cited > 50


def test_what_the_tokenizer_writes_of_a_rationale_is_parsed_citation_line_and_all(tmp_path):
    _, questions, _ = made(tmp_path / "w", explanations=True)
    tokenizer = Tokenizer.from_file(str(tmp_path / "w/tokenizer.json"))
    for q in questions[:20]:
        value, options = q["options"][q["answer"]], list(q["options"].values())
        said = q["explanation"].replace(q["gold_ids"][0], "P2")
        encoded = tokenizer.encode(f"Reasons: {said}\nAnswer: {value}")
        assert "<unk>" not in encoded.tokens
        thought = parse_thought(tokenizer.decode(encoded.ids), options)
        assert (options[thought.option], thought.cited) == (value, (2,))
    made(tmp_path / "plain")
    assert "\n" not in Tokenizer.from_file(str(tmp_path / "plain/tokenizer.json")).get_vocab()
