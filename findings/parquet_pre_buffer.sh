#!/usr/bin/env bash
# pyarrow: reading a Parquet file batch by batch keeps every column chunk that was read, by default.
# Guess: iter_batches holds one batch, or one row group at most. It holds the whole file, unless pre_buffer=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1 2> /dev/null
"$folder/venv/bin/python" - "$folder/a.parquet" <<'PYTHON'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

path, rows = sys.argv[1], 2_000


def peak_bytes(groups: int, **options: bool) -> int:
    """Return the most that Arrow holds while a file of so many row groups, 2 MB each, is read in batches of 100 rows."""
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for i in range(groups):
            writer.write_table(pa.table({"text": [f"{i:04d}-{n:04d}" * 111 for n in range(rows)]}))
    peak, before = 0, pa.total_allocated_bytes()
    with pq.ParquetFile(path, **options) as file:
        for _ in file.iter_batches(batch_size=100):
            peak = max(peak, pa.total_allocated_bytes() - before)
    return peak


print("pyarrow", pa.__version__)
grown = {}
for name, options in (("default", {}), ("pre_buffer=False", {"pre_buffer": False})):
    few, many = peak_bytes(5, **options), peak_bytes(50, **options)
    grown[name] = many / few
    print(f"{name:>16}: {few / 1e6:6.1f} MB at 5 row groups, {many / 1e6:6.1f} MB at 50: {grown[name]:.1f} times")
print("guess: 1.0 times in both, since one batch is asked for at a time")
sys.exit(not (grown["default"] > 5 and grown["pre_buffer=False"] < 1.5))
PYTHON
