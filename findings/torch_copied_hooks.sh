#!/usr/bin/env bash
# torch 2.13.0: copy.deepcopy of a model that somebody watches by a forward hook, such as one that counts tokens or FLOPs.
#
# The guess: a deep copy is a model of its own: unwatched, or watched by a copy of the hook that knows the copy.
# What happens: the copy calls the very same function, which knows the original. What the copy computes is put down to the
# original, by the original's parameters. Where the original is frozen and the copy is trained (two encoders that begin alike),
# the training then counts as that of a frozen model, and nothing fails.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install torch==2.13.0 numpy
cat > "$work/hooks.py" <<'PY'
import copy
import sys

import torch
from torch import nn

print("torch", torch.__version__.split("+")[0])
passages = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4))
seen = []


def count(layer, inputs, model=passages):
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    seen.append((inputs[0].numel(), trained))


passages[0].register_forward_pre_hook(count)
queries = copy.deepcopy(passages)
passages.requires_grad_(False)
queries(torch.arange(5))
truth = sum(p.numel() for p in queries.parameters() if p.requires_grad)
print(f"the copy computed 5 tokens and trains {truth} parameters; counted: {seen}")
sys.exit(seen != [(5, 0)] or truth != 52)
PY
if "$work/venv/bin/python" "$work/hooks.py"; then
  echo "as found"
else
  echo "the behaviour has changed"
  exit 1
fi
