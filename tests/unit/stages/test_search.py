"""`search` by shards: the same bytes as the whole, ties and all."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jmlr.options import IndexOptions, SearchOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import sha256
from jmlr.stages.index import index
from jmlr.stages.search import search
from jmlr.topk import Index, MaxSimIndex
from jmlr.topk.two_steps import build_first
from jmlr.topk.vectors import StoredVectors

N, D, B = 41, 8, 7


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make prepared tables, queries, and indexes of each storage over vectors with many ties: of passages, and of tokens."""
    root = tmp_path_factory.mktemp("search")
    draw = np.random.default_rng(0)
    vectors = draw.integers(-2, 3, (N, D)).astype(np.float32)
    (root / "prepare").mkdir()
    (root / "queries").mkdir()
    pq.write_table(pa.table({"id": [f"p{i}" for i in range(N)]}), root / "prepare/passages.parquet")
    pq.write_table(pa.table({"id": [f"q{i}" for i in range(B)]}), root / "prepare/questions.parquet")
    np.save(root / "queries/vectors.npy", draw.integers(-2, 3, (B, D)).astype(np.float32))
    for storage in IndexOptions.model_fields["storage"].annotation.__args__:
        Index.build(vectors, storage).save(root / f"index-{storage}/index")
    cuts = np.arange(N + 1) * 3 - (np.arange(N + 1) > 4)  # three tokens each; one has two
    tokens = draw.integers(-2, 3, (cuts[-1], D)).astype(np.float32)
    (root / "token-queries").mkdir()
    StoredVectors(draw.integers(-2, 3, (4 * B, D)).astype(np.float32), np.arange(B + 1) * 4).save(
        root / "token-queries"
    )
    for storage in IndexOptions.model_fields["storage"].annotation.__args__:
        made = MaxSimIndex.build(tokens, cuts, storage)
        made.save(root / f"token-index-{storage}/index")
        build_first(made, root / f"token-index-{storage}/first")
    return root


def found(folder):
    """Return what a search wrote; its run file without the tag, which is the folder's name."""
    lines = (folder / "candidates.trec").read_text().splitlines()
    return (folder / "candidates.parquet").read_bytes(), [line.rpartition(" ")[0] for line in lines]


@pytest.mark.parametrize("kind", ["", "token-"])
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("candidates", [1, 12, 41, 60])
def test_the_number_of_shards_changes_no_byte(made, tmp_path, storage, candidates, kind):
    options, shared = SearchOptions(candidates=candidates), {"prepared": made / "prepare"}
    given = {**shared, "index": made / f"{kind}index-{storage}", "queries": made / f"{kind}queries", "options": options}
    search(tmp_path / "whole", **given)
    for count in (1, 2, 5, 41):
        parts = [tmp_path / f"search-{i}-of-{count}" for i in range(count)]
        for i, part in enumerate(parts):
            search(part, **given, shard=f"{i}/{count}")
        search(tmp_path / f"{count}", **shared, options=options, parts=parts)
        assert found(tmp_path / f"{count}") == found(tmp_path / "whole")


def two_steps(**others):
    return SearchOptions(candidates=4, exhaustive_passages=0, recall_sample=3, rerank_count=5, **others)


@pytest.mark.parametrize("count", [1, 3])
def test_two_steps_measure_themselves_beside_the_exhaustive_search(made, tmp_path, count, capsys):
    shared = {"prepared": made / "prepare"}
    given = {**shared, "index": made / "token-index-int8", "queries": made / "token-queries"}
    search(tmp_path / "exact", **given, options=SearchOptions(candidates=4, exhaustive=True))
    options = two_steps(recall=0.1)
    if count == 1:
        search(tmp_path / "out", **given, options=options)
    else:
        parts = [tmp_path / f"search-{i}-of-{count}" for i in range(count)]
        for i, part in enumerate(parts):
            search(part, **given, options=options, shard=f"{i}/{count}")
        search(tmp_path / "out", **shared, options=options, parts=parts)
    exact, found = (pq.read_table(tmp_path / name / "candidates.parquet").to_pylist() for name in ("exact", "out"))
    sample = pq.read_table(tmp_path / "out/exhaustive.parquet").to_pylist()
    assert [(r["question_id"], r["passages"]) for r in sample] == [
        (exact[r["question"]]["question_id"], exact[r["question"]]["passages"]) for r in sample
    ]
    shares = [np.isin(r["passages"], found[r["question"]]["passages"]).mean() for r in sample]
    notes = json.loads((tmp_path / "out/manifest.json").read_text())["notes"]["two_steps"]
    assert notes["recall"] == pytest.approx(np.mean(shares))
    assert notes["interval"][0] <= notes["recall"] <= notes["interval"][1]
    assert (notes["sample"], notes["candidates"], notes["reranked"]) == (3, 4, 5 * count)
    assert f"recall@4 {notes['recall']:.3f} [" in capsys.readouterr().err


def test_two_steps_that_fall_short_of_the_recall_say_so_in_one_line(made, tmp_path):
    given = {"prepared": made / "prepare", "index": made / "token-index-int8", "queries": made / "token-queries"}
    search(tmp_path / "out", **given, options=two_steps(recall=1.0))
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["notes"]["two_steps"]["recall"] < 1
    (warning,) = manifest["warnings"]
    assert "search.recall asks for 1: set search.exhaustive" in warning
    assert "\n" not in warning


@pytest.mark.parametrize("given", [{"exhaustive": True}, {"exhaustive_passages": N}, {"recall_sample": B}])
def test_an_exhaustive_search_has_no_sample_and_needs_no_first_stage(made, tmp_path, given):
    shutil.copytree(made / "token-index-int8/index", tmp_path / "index/index")
    options = SearchOptions(**{**two_steps().model_dump(), **given})
    search(tmp_path / "out", made / "prepare", options, tmp_path / "index", made / "token-queries")
    assert not (tmp_path / "out/exhaustive.parquet").exists()
    with pytest.raises(UserError, match=r"first' is missing.*allowed: index again, or search.exhaustive: true"):
        search(tmp_path / "out", made / "prepare", two_steps(), tmp_path / "index", made / "token-queries")
    assert (tmp_path / "out/candidates.parquet").exists()  # what was there stays


def test_parts_that_were_measured_on_other_questions_are_refused(made, tmp_path):
    given = {"prepared": made / "prepare", "index": made / "token-index-int8", "queries": made / "token-queries"}
    parts = [tmp_path / "a", tmp_path / "b"]
    for number, (part, size) in enumerate(zip(parts, (3, 4), strict=True)):
        search(part, **given, options=two_steps().model_copy(update={"recall_sample": size}), shard=f"{number}/2")
    with pytest.raises(UserError, match=r"measured on other questions than .*; search all shards alike"):
        search(tmp_path / "out", prepared=made / "prepare", options=two_steps(), parts=parts)


@pytest.mark.parametrize("kind", ["", "token-"])
def test_a_damaged_index_or_query_is_one_line_and_leaves_nothing(made, tmp_path, kind):
    shutil.copytree(made, tmp_path / "copy")
    given = {"index": tmp_path / f"copy/{kind}index-int8", "queries": tmp_path / f"copy/{kind}queries"}
    (given["queries"] / "manifest.json").write_text(
        json.dumps({"outputs": {path.name: sha256(path) for path in given["queries"].iterdir()}})
    )
    files = [*(given["index"] / "index").glob("*.npy"), *given["queries"].glob("*.npy")]
    assert len(files) == (8 if kind else 6)
    for file in files:
        good = file.read_bytes()
        for bad in (good[:-9] + bytes([good[-9] ^ 64]) + good[-8:], good[:-9]):
            file.write_bytes(bad)
            with pytest.raises(UserError, match=rf"{file.name}.*(damaged|truncated)") as told:
                search(tmp_path / "out", prepared=made / "prepare", options=SearchOptions(), **given)
            assert "\n" not in str(told.value)
        file.write_bytes(good)
    assert not (tmp_path / "out").exists()
    search(tmp_path / "out", prepared=made / "prepare", options=SearchOptions(), **given)


def test_parts_of_other_questions_are_refused(made, tmp_path):
    given = {"index": made / "index-float32", "queries": made / "queries", "options": SearchOptions(candidates=3)}
    search(tmp_path / "part", prepared=made / "prepare", **given)
    (tmp_path / "prepare").mkdir()
    for name in ("passages", "questions"):
        pq.write_table(pa.table({"id": ["a", "b"]}), tmp_path / f"prepare/{name}.parquet")
    with pytest.raises(UserError, match="not a search for the questions"):
        search(tmp_path / "out", prepared=tmp_path / "prepare", options=SearchOptions(), parts=[tmp_path / "part"])
    assert not (tmp_path / "out").exists()


def test_an_index_or_parts_are_given_and_never_both(made, tmp_path):
    for given in ({}, {"index": made, "queries": made, "parts": [made]}, {"index": made}):
        with pytest.raises(UserError, match="either --index and --queries, or --parts"):
            search(tmp_path / "out", prepared=made / "prepare", options=SearchOptions(), **given)


@pytest.fixture(scope="module")
def worded(tmp_path_factory):
    """Make prepared tables with texts, an index of their words, and a search by it and one by another list."""
    root = tmp_path_factory.mktemp("words")
    texts = ["gout pain", "aspirin for pain", "old wine", "wine and gout", "a fever", "aspirin"]
    passages = {"id": [f"p{i}" for i in range(6)], "title": [""] * 6, "text": texts}
    questions = {"id": ["a", "b"], "question": ["what treats pain?", "zebra"], "options": [["aspirin", "wine"], []]}
    (root / "prepare").mkdir()
    pq.write_table(pa.table(passages), root / "prepare/passages.parquet")
    pq.write_table(pa.table(questions), root / "prepare/questions.parquet")
    index(root / "index", IndexOptions(), prepared=root / "prepare", bm25={})
    search(root / "words", root / "prepare", SearchOptions(candidates=3), root / "index")
    Index.build(np.eye(6, dtype=np.float32)).save(root / "vectors/index")
    (root / "queries").mkdir()
    np.save(root / "queries/vectors.npy", np.float32([[0, 1, 0, 0, 0, 2], [1, 0, 0, 3, 2, 0]]))
    search(root / "dense", root / "prepare", SearchOptions(candidates=3), root / "vectors", root / "queries")
    return root


def rows(folder):
    return pq.read_table(folder / "candidates.parquet")["passages"].to_pylist()


def test_words_find_passages_that_share_them_and_fill_up_by_rows(worded, tmp_path):
    assert rows(worded / "words") == [[1, 5, 0], [0, 1, 2]]
    notes = json.loads((worded / "words/manifest.json").read_text())["notes"]
    assert (notes["retriever"], notes["without_a_word"]) == ("bm25", 3)
    search(tmp_path / "bare", worded / "prepare", SearchOptions(candidates=3), worded / "index", query_options=False)
    assert rows(tmp_path / "bare")[0] == [0, 1, 2]
    assert (worded / "words/candidates.trec").read_text().splitlines()[0].startswith("1 Q0 p1 1 ")


def test_fused_lists_are_ordered_by_reciprocal_ranks(worded, tmp_path):
    lists = [worded / "words", worded / "dense"]
    search(tmp_path / "out", worded / "prepare", SearchOptions(candidates=3), fused=lists)
    assert rows(worded / "dense") == [[5, 1, 0], [3, 4, 0]]
    assert rows(tmp_path / "out") == [[1, 5, 0], [3, 4, 0]], (
        "of equals the lower row; what shares no word counts nothing"
    )
    with pytest.raises(UserError, match="--fused: lists of up to 3 passages"):
        search(tmp_path / "more", worded / "prepare", SearchOptions(candidates=4), fused=lists)


def test_an_index_of_words_of_other_passages_or_bad_options_are_one_line(worded, tmp_path):
    (tmp_path / "prepare").mkdir()
    shutil.copy(worded / "prepare/questions.parquet", tmp_path / "prepare")
    pq.write_table(pa.table({"id": ["x"], "title": [""], "text": ["y"]}), tmp_path / "prepare/passages.parquet")
    with pytest.raises(UserError, match=r"1 passages in .* but 6 in"):
        search(tmp_path / "out", tmp_path / "prepare", SearchOptions(), worded / "index")
    with pytest.raises(UserError, match="either --index and --queries, or --parts, or --fused"):
        search(tmp_path / "out", worded / "prepare", SearchOptions(), worded / "index", worded / "queries")
    with pytest.raises(UserError, match=r"--bm25: unknown key 'k' \(did you mean 'k1'"):
        index(tmp_path / "out", IndexOptions(), prepared=worded / "prepare", bm25={"k": 1})
    with pytest.raises(UserError, match="either --vectors, or --prepared and --bm25"):
        index(tmp_path / "out", IndexOptions(), [worded], prepared=worded / "prepare", bm25={})
    assert not (tmp_path / "out").exists()
