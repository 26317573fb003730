"""Passages a second: our encoding beside sentence-transformers and the runtimes behind its other backends, on one thread.

python benchmarks/encoding.py --retriever all-MiniLM-L6-v2 --prepared results/openstax/prepare   # writes benchmarks/encoding.json

The passages of a run, the same for all, in turns in one process. sentence-transformers runs by PyTorch, in float32 and with weights
in bfloat16. Its backends ONNX and OpenVINO come by optimum, which wants an older transformers than ours. So ONNX Runtime and OpenVINO
are called themselves, with the graph that `torch.onnx` writes and the batches that we take. What is told: passages per second of CPU
time, which other work on the machine hardly disturbs (the median of the rounds), and the largest distance 1 - cosine of a vector from
that of sentence-transformers in float32.

Needs `pip install --no-deps sentence-transformers onnxruntime openvino onnx onnxscript onnx-ir ml_dtypes protobuf flatbuffers`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

from jmlr.corpus.prompt import passage_text
from jmlr.corpus.stored_passages import StoredPassages
from jmlr.models.dense import DenseRetriever
from jmlr.models.encoder import batches
from jmlr.models.tensors import pad_right

HERE = Path(__file__).resolve().parent
BATCH_TOKENS = 4096
Vectors = Any  # float32 [n, D]


class Graph(torch.nn.Module):
    """A retriever as a graph of two tensors: ids and attended, int64 [n, T], to vectors [n, D]."""

    def __init__(self, retriever: DenseRetriever) -> None:
        super().__init__()
        self.encoder = retriever.encoder

    def forward(self, ids: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Return mean vectors of length 1."""
        hidden = self.encoder(input_ids=ids, attention_mask=attended).last_hidden_state
        mean = (hidden * attended[..., None]).sum(1) / attended.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=-1)


def exported(retriever: DenseRetriever, file: Path) -> Path:
    """Write the graph as ONNX, for any number and length of texts."""
    n, t = torch.export.Dim("n"), torch.export.Dim("t", max=512)
    like = torch.ones(2, 8, dtype=torch.long)
    other = like.clone()  # the same tensor twice would be taken for one input (findings/torch_export_same_example.sh)
    shapes = {"ids": {0: n, 1: t}, "attended": {0: n, 1: t}}
    torch.onnx.export(Graph(retriever).eval(), (like, other), file, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return file


def in_batches(rows: list[list[int]], depth: int, compute: Callable[[Any, Any], Any]) -> Vectors:
    """Compute the vectors of token lists in our batches by a runtime that takes arrays."""
    vectors = np.empty((len(rows), depth), np.float32)
    for batch in batches([len(r) for r in rows], BATCH_TOKENS):
        ids = pad_right([rows[i] for i in batch], torch.device("cpu"), 512).numpy()
        lengths = np.array([len(rows[i]) for i in batch])
        vectors[batch] = compute(ids, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))
    return vectors


def contestants(folder: str, texts: list[str], file: Path) -> dict[str, Callable[[], Vectors]]:
    """Return what each does with the texts; tokenizing is part of it."""
    ours = DenseRetriever.load(folder).eval()
    half = DenseRetriever.load(folder).eval().to(torch.bfloat16)
    peers = {name: SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": getattr(torch, name)}) for name in ("float32", "bfloat16")}  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    exported(ours, file)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def by_openvino(precision: str) -> Callable[[Any, Any], Any]:
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(file, "CPU", settings)
        return lambda ids, attended: compiled([ids, attended])[0]

    def encoded(precision: Any) -> Vectors:
        return ours.encode_all(ours.tokenize(texts), batch_tokens=BATCH_TOKENS, precision=precision)[0].numpy()

    def by_graph(compute: Callable[[Any, Any], Any]) -> Vectors:
        return in_batches(ours.tokenize(texts), ours.depth, compute)

    openvinos = {precision: by_openvino(precision) for precision in ("f32", "bf16")}
    return {
        "sentence-transformers, float32": lambda: peers["float32"].encode(texts, batch_size=32),
        "sentence-transformers, bfloat16": lambda: peers["bfloat16"].encode(texts, batch_size=32).astype(np.float32),
        "ONNX Runtime, float32": lambda: by_graph(lambda i, a: session.run(None, {"ids": i, "attended": a})[0]),
        "OpenVINO, float32": lambda: by_graph(openvinos["f32"]),
        "OpenVINO, bfloat16": lambda: by_graph(openvinos["bf16"]),
        "ours, float32": lambda: encoded("float32"),
        "ours, bfloat16": lambda: encoded("bfloat16"),
        "ours, weights in bfloat16": lambda: half.encode_all(half.tokenize(texts), batch_tokens=BATCH_TOKENS)[
            0
        ].numpy(),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retriever", required=True, help="a folder, or a name on the hub")
    parser.add_argument("--prepared", required=True, type=Path, help="the output of `prepare`")
    parser.add_argument("--passages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    stored = StoredPassages.open(given.prepared)
    chosen = np.random.default_rng(0).choice(len(stored), min(given.passages, len(stored)), replace=False)
    texts = [passage_text(*pair) for pair in stored.pairs(sorted(chosen.tolist()))]
    seconds: dict[str, list[float]] = {}
    vectors: dict[str, Vectors] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways = contestants(given.retriever, texts, Path(folder) / "graph.onnx")
        for repeat in range(given.rounds + 1):  # the first warms up
            for name, encode in ways.items():
                begun = time.process_time()
                vectors[name] = encode()
                if repeat:
                    seconds.setdefault(name, []).append(time.process_time() - begun)
    truth = vectors["sentence-transformers, float32"].astype(np.float64)
    table = {
        name: {
            "passages_per_cpu_s": round(len(texts) / statistics.median(held), 1),
            "cosine_distance": float(f"{np.max(1 - np.sum(truth * vectors[name], axis=1)):.1e}"),
            "cpu_seconds": [round(s, 2) for s in held],
        }
        for name, held in seconds.items()
    }
    for name, row in table.items():
        print(
            f"{name:34} {row['passages_per_cpu_s']:7.1f} passages per CPU second, 1 - cosine at most {row['cosine_distance']:.0e}"
        )
    versions = {p.__name__: p.__version__ for p in (torch, sentence_transformers, onnxruntime, openvino)}
    found = {
        "passages": len(texts),
        "table": table,
        "cpu": cpu_name(),
        "machine": platform.machine(),
        "versions": versions,
    }
    (HERE / "encoding.json").write_text(json.dumps(found, indent=1) + "\n")


def cpu_name() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
