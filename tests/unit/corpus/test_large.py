"""benchmarks/large/corpus.py: questions about a large made corpus ask for what their gold passage says."""

import importlib.util
import random
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[3] / "benchmarks/large/corpus.py"
TEXTS = [[f"w{text}-{i}" for i in range(40)] for text in range(8)]


@pytest.fixture(scope="module")
def corpus():
    spec = importlib.util.spec_from_file_location("large_corpus", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_right_option_is_the_second_sentence_of_the_gold_passage(corpus):
    rng = random.Random(0)
    pairs = {n: tuple(corpus.sentence(rng, TEXTS[n % 8], TEXTS) for _ in range(2)) for n in range(50)}
    made = [corpus.question(n, 100, pairs, TEXTS) for n in range(100)]
    for asked in made:
        (gold,) = asked["gold_ids"]
        assert asked["options"][asked["answer"]] == pairs[int(gold[1:])][1]
        assert len(set(asked["options"].values())) == 4
    assert [m["split"] for m in made] == ["train"] * 40 + ["dev"] * 10 + ["test"] * 50
    assert made == [corpus.question(n, 100, pairs, TEXTS) for n in range(100)]


def test_a_missing_prepared_folder_is_one_line(corpus, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["corpus.py", str(tmp_path / "out"), "--prepared", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="is not there: config"):
        corpus.main()
    assert not (tmp_path / "out").exists()
