"""Numbers that should not be there end in an error or in an answer without meaning, never outside of our memory."""

import subprocess
import sys

import numpy as np
import pytest

from jmlr.topk import Index, IndexFormatError, MaxSimIndex
from jmlr.topk.format import FORMAT, MAXSIM_FORMAT, write_index

STORAGES = ("float32", "bfloat16", "int8")
CUTS = np.arange(0, 1501, 3)
X = np.random.default_rng(4).standard_normal((1500, 8)).astype(np.float32)

SEARCHES = """
import sys
import numpy as np
from jmlr.topk import Index, MaxSimIndex
queries = np.random.default_rng(5).standard_normal((40, 8)).astype(np.float32)
for folder in sys.argv[1:]:
    index = (MaxSimIndex if "maxsim" in folder else Index).open(folder, verify=False)
    for batch in (1, 40):
        for k in (3, 100):
            for threads in (1, 3):
                tokens = queries[:batch, None] if "maxsim" in folder else queries[:batch]
                scores, ids = index.search(tokens, k, threads)
                assert ids.min() >= -1 and ids.max() < 1500
print("all answered")
"""


def columns_of(index):
    return index._columns if isinstance(index, MaxSimIndex) else index._segments.parts[0].columns


def forge(folder, kind, storage, name, value, every=3):
    """Write an index, with checksums that fit, of which a column has entries that no index has."""
    made = Index.build(X, storage) if kind == "dense" else MaxSimIndex.build(X, CUTS, storage)
    columns = {key: np.array(column) for key, column in columns_of(made).items()}
    columns[name][1::every] = value
    write_index(folder, storage, 8, [columns], kind=FORMAT if kind == "dense" else MAXSIM_FORMAT)
    return folder


@pytest.mark.parametrize("kind", ["dense", "maxsim"])
@pytest.mark.parametrize("every", [2, 3, 50])
def test_nan_that_nobody_looked_for_does_not_crash_a_search(kind, every, tmp_path):
    folders = []
    for storage, columns in zip(STORAGES, (["norm"], ["norm", "residual"], ["norm", "residual", "scale"]), strict=True):
        for name in ["vectors", *columns]:
            for value in (np.nan, np.inf, -np.inf):
                folder = tmp_path / f"{kind}-{storage}-{name}-{value}"
                folders.append(forge(folder, kind, storage, name, value, every))
    done = subprocess.run([sys.executable, "-c", SEARCHES, *folders], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    assert "all answered" in done.stdout


@pytest.mark.parametrize("kind", ["dense", "maxsim"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("vectors", np.nan), ("vectors", np.inf), ("norm", np.nan), ("residual", -1), ("scale", np.nan), ("scale", -1)],
)
def test_an_index_with_numbers_that_no_index_has_is_refused_by_file(kind, name, value, tmp_path):
    forge(tmp_path / "index", kind, "int8", name, value)
    with pytest.raises(IndexFormatError, match=rf"{name}.npy: .* between bytes \d+ and \d+"):
        (Index if kind == "dense" else MaxSimIndex).open(tmp_path / "index")


def test_what_an_index_shows_of_itself_cannot_be_written_to():
    index = Index.build(X, storage="int8", ids=np.arange(1500))
    for array in (index.vectors, index.ids, columns_of(index)["codes"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_an_array_of_queries_that_another_thread_writes_to_is_read_once(monkeypatch):
    """What is searched is what was checked: the search has a copy."""
    queries = X[:3].copy()
    index, expected = Index.build(X), Index.build(X).search(queries, 5)
    verify = Index._verify

    def write_meanwhile(self):
        queries[:] = np.nan
        verify(self)

    monkeypatch.setattr(Index, "_verify", write_meanwhile)
    scores, ids = index.search(queries, 5)
    assert scores.tobytes() == expected[0].tobytes()
    assert ids.tolist() == expected[1].tolist()
