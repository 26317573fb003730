#!/usr/bin/env bash
# torch 2.13.0: a model exported with one example tensor for two inputs reads only one of them afterwards.
#
# Guess: examples say shapes and dtypes. So a tensor of ones may serve for token ids and for the attention mask alike, as in a quick
# export of an encoder.
# Seen: torch.export takes two inputs that are the same tensor for one. The program keeps both names, reads the last for both, checks
# nothing when they differ, and gives other results without a warning; torch.onnx.export(dynamo=True) hands it on. An encoder so exported
# takes its mask for its ids. A copy of the example is enough.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
"$work/venv/bin/python" - <<'PY'
import torch


class Sum(torch.nn.Module):
    def forward(self, ids, mask):
        return (10 * ids + mask).sum(-1)


def exported(ids, mask):
    rows = torch.export.Dim("rows")
    return torch.export.export(Sum(), (ids, mask), dynamic_shapes={"ids": {0: rows}, "mask": {0: rows}})


example, ids, mask = torch.ones(2, 2), torch.arange(6.0).reshape(3, 2), torch.ones(3, 2)
same, copied = exported(example, example), exported(example, example.clone())
used = {node.name: len(node.users) for node in same.graph.nodes if node.op == "placeholder"}
right, tied, apart = (f(ids, mask).tolist() for f in (Sum(), same.module(), copied.module()))
print("torch", torch.__version__, "uses of the inputs", used, "results", tied, "in place of", right)
assert used["ids"] == 0, "no longer so"
assert tied == [22.0, 22.0, 22.0], "no longer so"
assert apart == right == [12.0, 52.0, 92.0], "no longer so"
PY
