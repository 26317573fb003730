#!/usr/bin/env bash
# torch 2.13.0 on a CPU with AMX: a product of bfloat16 matrices takes many times as long the first time that its shape is met.
#
# Guess: what a product costs follows from its size; batches of uneven length cost what their tokens cost.
# Seen: oneDNN compiles a kernel for each shape, also where the number of rows alone differs: 128 columns by 128, 64 to 1,024 rows,
# take 1 to 3 ms the first time and 0.1 to 0.2 ms after. It keeps the last 1,024 (ONEDNN_PRIMITIVE_CACHE_CAPACITY), some megabyte each. So
# training on parts of ever new lengths spends a quarter of its time there; rounding lengths and numbers of texts ends that.
# float32 products are MKL's, and have none of it. One thread, medians of 60 shapes.
set -euo pipefail
grep -q amx_bf16 /proc/cpuinfo || { echo "no AMX here: not measured"; exit 0; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import statistics
import time

import torch

torch.set_num_threads(1)
print(f"torch {torch.__version__}; milliseconds of CPU time, [n, 128] x [128, 128]")
ratio = {}
for dtype in (torch.bfloat16, torch.float32):
    weights, first, second = torch.randn(128, 128, dtype=dtype), [], []
    torch.randn(50, 128, dtype=dtype) @ weights
    for rows in range(64, 1024, 16):
        x = torch.randn(rows, 128, dtype=dtype)
        for times in (first, second):
            begin = time.process_time()
            x @ weights
            times.append(1000 * (time.process_time() - begin))
    one, two = statistics.median(first), statistics.median(second)
    ratio[dtype] = one / two
    print(f"{str(dtype).removeprefix('torch.')}: first {one:.2f}, second {two:.2f}, {one / two:.1f} times")
assert ratio[torch.bfloat16] > 3 > ratio[torch.float32], "no longer so: shapes need not come again (jmlr.models.parts)"
PY
