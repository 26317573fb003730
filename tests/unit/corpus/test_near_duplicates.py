"""A threshold means that similarity: nothing below it is dropped, and what is at it is found."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from jmlr.corpus import near_duplicates
from jmlr.corpus.near_duplicates import HASHES, RECALL, NearDuplicates, banding, minhash, shingles
from jmlr.corpus.shingles import word_hashes

RNG = random.Random(0)
WORDS = [f"word{i}" for i in range(20_000)]
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


def text(length: int = 80) -> list[str]:
    return RNG.sample(WORDS, length)


def changed(words: list[str], count: int) -> list[str]:
    found = list(words)
    for place in RNG.sample(range(len(words)), count):
        found[place] = "other"
    return found


def pair(shared: int, all: int) -> list[list[str]]:
    """Return two texts with so many shingles in common, of so many in both: one goes on where the other ends."""
    longer = text(all + 4)
    found = [longer, longer[: shared + 4]]
    RNG.shuffle(found)
    return found


def dropped(folder: Path, threshold: float, texts: list[list[str]]) -> dict[int, int]:
    found = NearDuplicates(folder, threshold)
    for words in texts:
        found.add(word_hashes(" ".join(words)))
    return dict(found.find().tolist())


def similarity(one: list[str], other: list[str]) -> float:
    a, b = (set(shingles(word_hashes(" ".join(t))).tolist()) for t in (one, other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_at_the_threshold_nearly_all_are_found_and_below_it_none(tmp_path: Path, threshold: float) -> None:
    shared, pairs = round(100 * threshold), 400
    at = [words for _ in range(pairs) for words in pair(shared, 100)]
    below = [words for _ in range(pairs) for words in pair(shared, 101)]
    assert similarity(*at[:2]) == pytest.approx(threshold)
    assert threshold - 0.01 <= similarity(*below[:2]) < threshold
    found = dropped(tmp_path, threshold, [*at, *below])
    assert all(row == stays + 1 and row < len(at) for row, stays in found.items()), "dropped below the threshold"
    assert len(found) >= 0.99 * pairs


@pytest.mark.parametrize("threshold", [*THRESHOLDS, 0.7123, 0.999])
def test_bands_find_what_is_promised_with_the_hashes_there_are(threshold: float) -> None:
    bands, rows = banding(threshold)
    assert 1 - (1 - threshold**rows) ** bands >= RECALL
    assert bands * rows <= HASHES


def test_the_share_of_equal_hashes_is_the_similarity_of_the_shingles() -> None:
    differences = []
    for count in (0, 1, 2, 4, 8) * 8:
        one = text()
        two = changed(one, count)
        a, b = (minhash(shingles(word_hashes(" ".join(t))), np.zeros(1, np.int64)) for t in (one, two))
        differences.append((a == b).mean() - similarity(one, two))
    assert abs(np.mean(differences)) < 0.03  # unbiased
    assert np.std(differences) < 0.07  # 80 hashes: at most sqrt(1/4 / 80)


def test_other_case_and_marks_make_no_difference(tmp_path: Path) -> None:
    one = text(200)
    assert dropped(tmp_path, 0.9, [one, text(200), [w.upper() + "!" for w in changed(one, 1)]]) == {2: 0}


def test_texts_that_drift_are_dropped_only_for_one_that_is_near_and_stays(tmp_path: Path) -> None:
    """Versions of a text, each near the next and unlike the one after five: chains, in any order, with exact twins."""
    for seed in range(5):
        versions, words = [], text(200)
        for _ in range(40):
            versions.append(words)
            words = changed(words, 1)
        random.Random(seed).shuffle(versions)
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = dropped(folder, 0.8, versions)
        kept = [row for row in range(len(versions)) if row not in found]
        assert 4 <= len(kept) <= 20
        for row, stays in found.items():
            assert stays in kept
            assert stays < row
            assert similarity(versions[row], versions[stays]) >= 0.8
        left = [(a, b) for a in kept for b in kept if a < b and similarity(versions[a], versions[b]) >= 0.8]
        assert len(left) <= 1, f"near, and both are there: {left}"
        assert not list(folder.iterdir()), "files are left"


def test_short_texts_are_compared_whole_and_texts_without_words_are_like_no_other(tmp_path: Path) -> None:
    texts = ["one", "two words", "One!", "...", "", "two words more"]
    assert dropped(tmp_path, 1.0, [t.split() for t in texts]) == {2: 0}


def test_comparing_ends_where_very_many_look_alike_and_that_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 3)
    head = text(60)  # the same in all: they meet in many bands
    found = NearDuplicates(tmp_path, 0.8)
    for _ in range(50):
        found.add(word_hashes(" ".join([*head, *text(20)])))
    assert not len(found.find())
    assert found.unfinished > 10


def test_how_many_are_hashed_at_once_does_not_matter(tmp_path: Path) -> None:
    """Same texts, same rows: with short and empty ones among them, which `_shingles_of` treats apart."""
    texts = [words for _ in range(50) for words in (*pair(85, 100), [], text(3), text(5))]
    results = []
    for batch in (1, 700, 8192):
        folder = tmp_path / str(batch)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(near_duplicates, "_BATCH", batch)
            results.append(dropped(folder, 0.8, texts))
    assert results[0] == results[1] == results[2]
    assert len(results[0]) > 40
