#!/usr/bin/env bash
# torch 2.13.0 on a CPU with AMX: the backward pass of scaled_dot_product_attention is slower in bfloat16 than in float32 over short texts.
#
# Guess: where the processor multiplies bfloat16 matrices in hardware, attention in bfloat16 is at least as fast as in float32.
# Seen: forward it is (1.2 to 1.5 times as fast); forward and backward together take 2 to 4 times as long as in float32, 4.5 at 64 tokens,
# 3 at 125, 2 at 256. So a model of short texts trains faster with attention alone in float32. One thread, least of seven.
set -euo pipefail
grep -q amx_bf16 /proc/cpuinfo || { echo "no AMX here: not measured"; exit 0; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import time

import torch
from torch.nn.functional import scaled_dot_product_attention as attend

torch.set_num_threads(1)


def least(call):
    call()
    times = []
    for _ in range(7):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return 1000 * min(times)


print(f"torch {torch.__version__}; milliseconds of CPU time, 32 texts, 4 heads of 32")
ratio = {}
for tokens in (64, 125, 256):
    shape, took = (32, 4, tokens, 32), {}
    for dtype in (torch.bfloat16, torch.float32):
        q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
        gradient = torch.randn(shape, dtype=dtype)

        def forward():
            with torch.no_grad():
                attend(q, k, v, is_causal=True)

        def both():
            attend(q, k, v, is_causal=True).backward(gradient)

        took[dtype] = least(forward), least(both)
    ratio[tokens] = took[torch.bfloat16][1] / took[torch.float32][1]
    for dtype, (one, two) in took.items():
        print(f"{tokens} tokens, {str(dtype).removeprefix('torch.')}: forward {one:.1f}, forward and backward {two:.1f}")
print(f"bfloat16 over float32, forward and backward: {', '.join(f'{t}: {r:.1f}' for t, r in ratio.items())}")
assert ratio[64] > 1.5 and ratio[125] > 1.5, "no longer so: jmlr.models.attention may go"
PY
