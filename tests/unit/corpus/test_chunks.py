"""Passages end where sentences, paragraphs and sections do, and are never longer than a tokenizer's limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from jmlr.corpus.chunks import Chunks
from jmlr.runtime.errors import UserError

TEXT = " ".join(f"Sentence number {i} speaks of hyperparathyroidism and osteomalacia." for i in range(40))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a small WordPiece tokenizer, which cuts long words into several tokens."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    made.normalizer = normalizers.BertNormalizer()  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    made.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"]))
    made.enable_truncation(8)  # as published tokenizers may have it; it must not hide how long a text is
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("overlap", [0, 60])
def test_no_piece_has_more_tokens_than_allowed_and_no_sentence_is_lost(tokenizer: Path, overlap: int) -> None:
    chunks = Chunks(120, overlap, str(tokenizer))
    pieces = [text for _, text in chunks("T", TEXT)]
    assert len(pieces) > 5
    assert max(chunks.length(pieces)) <= 120
    assert min(chunks.length(pieces)[:-1]) > 120 - 60, "pieces are filled"
    found = dict.fromkeys(s.strip(" .") for p in pieces for s in p.split(". "))
    assert list(found) == [s.strip(" .") for s in TEXT.split(". ")]
    repeated = sum(p.count("Sentence") for p in pieces) - 40
    assert repeated == 0 if not overlap else repeated >= len(pieces) - 1


def test_a_file_and_its_folder_count_alike(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_MODELS", str(tokenizer.parent))
    assert Chunks(50, 0, "${SOME_MODELS}/" + tokenizer.name)("", TEXT) == Chunks(50, 0, str(tokenizer))("", TEXT)
    assert Chunks(50, 0, str(tokenizer / "tokenizer.json"))("", TEXT) == Chunks(50, 0, str(tokenizer))("", TEXT)


def test_a_paragraph_is_a_border_even_without_a_full_stop() -> None:
    assert Chunks(4)("T", "Signs of gout\n\nIt hurts a lot.") == [("T", "Signs of gout"), ("T", "It hurts a lot.")]


def test_no_piece_crosses_a_heading_and_headings_join_the_title() -> None:
    text = "Intro here.\n# Gout\nIt hurts.\n## Care\nRest. Drink.\n```\n# no heading\n```\n# Tests\n\nUrate."
    assert Chunks()("Joints", text, headings=True) == [
        ("Joints", "Intro here."),
        ("Joints: Gout", "It hurts."),
        ("Joints: Gout: Care", "Rest. Drink.\n```\n# no heading\n```"),
        ("Joints: Tests", "Urate."),
    ]
    assert Chunks()("Joints", "No heading.", headings=True) == [("Joints", "No heading.")]
    assert Chunks()("Joints", "# Alone", headings=True) == [("Joints", "# Alone")]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ((5, 5), "chunk_overlap_words 5: allowed: less than chunk_words, which is 5"),
        ((5, 6, "x"), "chunk_overlap_tokens 6: allowed: less than chunk_tokens, which is 5"),
        ((5, 0, "nowhere/tokenizer.json"), "tokenizer: there is no 'nowhere/tokenizer.json'"),
    ],
)
def test_what_cannot_cut_is_refused(how: tuple[int, int, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Chunks(*how)


def test_a_damaged_tokenizer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read") as caught:
        Chunks(5, 0, str(tmp_path))
    assert "\n" not in str(caught.value)
