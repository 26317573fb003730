#!/usr/bin/env bash
# ir-measures 0.4.3: query ids are opaque strings for all measures but one kind. nDCG with exponential gains
# (`nDCG(dcg='exp-log2')`) is computed by gdeval, which keeps of an id what follows its last hyphen.
#
# The guess: two questions `train-0` and `test-0` are two questions for every measure.
# What happens: with exponential gains they become one question `0`; the two real ones are reported as 0.0, without a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v perl >/dev/null || { echo "perl is wanted: ir-measures runs gdeval by it"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install ir-measures==0.4.3 pytrec-eval-terrier==0.5.11 numpy==2.2.6
"$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import ir_measures
from ir_measures import Qrel, ScoredDoc, nDCG

qrels = [Qrel("train-0", "d1", 1), Qrel("test-0", "d1", 1)]
run = [ScoredDoc(q, d, s) for q in ("train-0", "test-0") for d, s in (("d1", 2.0), ("d2", 1.0))]


def figures(measure):
    return {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}


linear, exponential = figures(nDCG @ 2), figures(nDCG(dcg="exp-log2") @ 2)
print("ir-measures", version("ir-measures"))
print("linear gains:     ", linear)
print("exponential gains:", exponential)
as_found = linear == {"train-0": 1.0, "test-0": 1.0} and exponential == {"0": 1.0, "train-0": 0.0, "test-0": 0.0}
print("as found" if as_found else "the behaviour has changed")
sys.exit(not as_found)
PYTHON
