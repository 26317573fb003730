#!/usr/bin/env bash
# bm25s 0.3.16: of passages with equal scores, `retrieve` does not return the first ones.
#
# Guess: equal scores come in the order of the corpus, or at least the k that are returned are its first, so a ranking can be made again.
# Seen: three documents alike and k = 2: the last two come back, the last one first; the very first is not among them. Short passages and
# one-word queries tie often, so hit@1 and a fused list depend on it. `get_scores` gives all scores, from which an order of one's own can
# be made: by score, then by row.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet bm25s==0.3.16 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import bm25s
import numpy as np

held = bm25s.BM25()
held.index([["gout"], ["gout"], ["gout"], ["fever"]], show_progress=False)
rows, scores = held.retrieve([["gout"]], k=2, show_progress=False)
every = held.get_scores(["gout"])
print(f"bm25s {importlib.metadata.version('bm25s')}; scores of all {every.round(3).tolist()}; retrieve, k = 2: rows {rows[0].tolist()}")
assert every[0] == every[1] == every[2] > every[3]
assert scores[0][0] == scores[0][1] == every[0]
assert 0 not in rows[0].tolist(), "no longer so: the first of equal rows is returned"
print("by score, then by row:", np.lexsort((np.arange(4), -every))[:2].tolist())
PY
