#!/usr/bin/env bash
# datasets: a text that looks like a date, in JSON Lines, comes out of load_dataset and to_json as a number.
# Guess: a JSON string stays a string. Arrow's JSON reader makes a timestamp of it, and pandas writes that as milliseconds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pandas==3.1.1 pyarrow==26.0.1 2> /dev/null
mkdir "$folder/set"
echo '{"id": "007", "answer": "2024-01-02"}' > "$folder/set/train.jsonl"
export HF_HOME="$folder/home" HF_DATASETS_OFFLINE=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys

import datasets

datasets.disable_progress_bars()
table = datasets.load_dataset(f"{sys.argv[1]}/set", split="train")
table.to_json(f"{sys.argv[1]}/out.jsonl")
found = json.loads(open(f"{sys.argv[1]}/out.jsonl").read())
print("datasets", datasets.__version__, table.features)
print("in:  {'id': '007', 'answer': '2024-01-02'}")
print(f"out: {found}")
print("guess: the same")
sys.exit(not (found["id"] == "007" and found["answer"] == 1704153600000))
PYTHON
