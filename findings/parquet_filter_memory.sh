#!/usr/bin/env bash
# pyarrow 26.0.1: read_table with a filter for a thousand rows holds memory by the whole file, not by what it returns.
#
# Guess: `filters=field("row").isin(rows)` drops the other rows as it goes, so memory follows the thousand rows of the result.
# Seen: the peak grows by more than half of the file's decoded size; row groups of 8,192 rows, each with a row that is wanted.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pyarrow==26.0.1"
cat > "$work/peak.py" <<'PY'
import random
import resource
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

file, count, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if what == "write":
    draw = random.Random(0)
    with pq.ParquetWriter(file, pa.schema([("row", pa.int32()), ("text", pa.string())]), compression="zstd") as table:
        for first in range(0, count, 8192):
            rows = range(first, min(first + 8192, count))
            texts = ["%01000x" % draw.getrandbits(4000) for _ in rows]
            table.write_table(pa.table({"row": pa.array(rows, pa.int32()), "text": texts}))
else:
    wanted = list(range(0, count, count // 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = pq.read_table(file, columns=["text"], filters=pc.field("row").isin(wanted))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(f"pyarrow {pa.__version__}: {len(found)} rows, {found.nbytes / 1e6:.0f} MB, of {count} rows, {count / 1e3:.0f} MB; peak {grown / 1e6:.0f} MB more")
    assert len(found) == len(wanted)
    assert grown > 0.5 * 1000 * count, "no longer so: the peak does not grow with the file"
PY
"$work/venv/bin/python" "$work/peak.py" "$work/t.parquet" 300000 write
"$work/venv/bin/python" "$work/peak.py" "$work/t.parquet" 300000 read
