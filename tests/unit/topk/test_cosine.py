"""Metric "cosine": inner products of rows and queries that were divided by their norms, bit for bit."""

import json

import numpy as np
import pytest

from jmlr.topk import Index, IndexFormatError, topk
from jmlr.topk.format import _digest
from jmlr.topk.reference import normalised, topk_reference

STORAGES = ("float32", "bfloat16", "int8")
RNG = np.random.default_rng(17)
X = (RNG.standard_normal((2100, 10)) * 10.0 ** RNG.integers(-44, 37, (2100, 1))).astype(np.float32)
X[5] = 0
Q = RNG.standard_normal((30, 10)).astype(np.float32)
Q[2] = 0


def same_bits(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].tobytes() == expected[0].tobytes()


@pytest.mark.parametrize("storage", STORAGES)
def test_cosine_is_the_inner_product_of_the_normalised(storage, tmp_path):
    expected = topk_reference(normalised(Q), normalised(X), 12)
    index = Index.build(X, storage, metric="cosine")
    assert index.vectors.tobytes() == normalised(X).tobytes()
    same_bits(index.search(Q, 12), expected)
    same_bits(index.search(Q[:1], 12), topk_reference(normalised(Q[:1]), normalised(X), 12))
    index.save(tmp_path / "index")
    again = Index.from_shards([X[:900], X[900:]], tmp_path / "again", storage, metric="cosine")
    assert again.metric == Index.open(tmp_path / "index").metric == "cosine"
    for path in (tmp_path / "index").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    same_bits(again.search(Q, 12), expected)
    same_bits(
        again.rows(100, 2000).search(Q, 5),
        topk_reference(normalised(Q), normalised(X)[100:2000], 5, np.arange(100, 2000)),
    )
    again.add(3 * X[:50])
    same_bits(again.search(Q, 12), topk_reference(normalised(Q), normalised(np.concatenate([X, 3 * X[:50]])), 12))
    assert "metric='cosine'" in repr(again)


def test_a_row_or_query_of_zeros_has_cosine_0_with_all():
    index = Index.build(np.array([[0, 0], [-1, 0], [2, 0]]), metric="cosine")
    assert index.search([[5, 0], [0, 0]], 3)[0].tolist() == [[1, 0, -1], [0, 0, 0]]
    assert index.search([[5, 0], [0, 0]], 3)[1].tolist() == [[2, 0, 1], [0, 1, 2]]
    same_bits(topk(Q, X, 4, metric="cosine"), topk_reference(normalised(Q), normalised(X), 4))


def test_what_was_given_is_not_changed(tmp_path):
    x, q = X[:50].copy(), Q.copy()
    Index.build(x, metric="cosine").search(q, 3)
    Index.from_shards([x], tmp_path / "index", metric="cosine")
    topk(q, x, 3, metric="cosine")
    assert x.tobytes() == X[:50].tobytes()
    assert q.tobytes() == Q.tobytes()


def test_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(ValueError, match="metric: 'l2'; allowed: inner_product, cosine"):
        Index.build(X, metric="l2")
    Index.build(X, metric="cosine").save(tmp_path / "index")
    manifest = json.loads((tmp_path / "index/index.json").read_text())
    assert manifest["version"] == 2  # which an older program refuses: it would not normalise queries
    manifest["metric"] = "l2"
    (tmp_path / "index/index.json").write_text(json.dumps(manifest | {"checksum": _digest(manifest)}))
    with pytest.raises(IndexFormatError, match="metric: 'l2'; allowed: inner_product, cosine"):
        Index.open(tmp_path / "index")
    Index.build(X).save(tmp_path / "plain")
    plain = json.loads((tmp_path / "plain/index.json").read_text())
    assert plain["version"] == 1
    assert "metric" not in plain
