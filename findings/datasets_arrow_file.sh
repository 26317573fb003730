#!/usr/bin/env bash
# datasets 5.2.0 with pyarrow 26.0.1: Dataset.from_file reads Arrow's stream format alone, not an Arrow file.
#
# Guess: Dataset.from_file("passages.arrow") opens what pyarrow.ipc.new_file wrote, as load_dataset("arrow") does.
# Seen: ArrowInvalid, for it takes the file's mark for the length of a message. load_dataset("arrow", data_files=...) reads both.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "datasets==5.2.0" "pyarrow==26.0.1"
HF_HUB_OFFLINE=1 HF_HOME="$work/hub" "$work/venv/bin/python" - "$work" <<'PY'
import sys

import datasets
import pyarrow as pa

table = pa.table({"id": ["a", "b"]})
for kind, make in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
    with pa.OSFile(f"{sys.argv[1]}/{kind}.arrow", "wb") as sink, make(sink, table.schema) as writer:
        writer.write_table(table)
print("datasets", datasets.__version__, "pyarrow", pa.__version__)
assert datasets.Dataset.from_file(f"{sys.argv[1]}/stream.arrow")["id"][:] == ["a", "b"]
try:
    datasets.Dataset.from_file(f"{sys.argv[1]}/file.arrow")
except pa.ArrowInvalid as error:
    print("an Arrow file:", str(error).splitlines()[0])
else:
    raise SystemExit("no longer so: it reads an Arrow file")
read = datasets.load_dataset("arrow", data_files=f"{sys.argv[1]}/file.arrow", split="train")
assert read["id"][:] == ["a", "b"]
PY
