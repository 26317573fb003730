import gzip
import json
import time

import pytest

from jmlr.runtime import preflight
from jmlr.runtime.errors import UserError, full_disk
from jmlr.runtime.preflight import Request, check_cluster, check_corpus, check_machine, parse_nodes, request_of
from jmlr.runtime.summary import summary

CLUSTER = [
    parse_nodes(line)
    for line in ("cpu*|40|256000|(null)", "gpu|2|512000|gpu:h100:8(S:0-1)", "gpu|4|512000+|gpu:a100:4")
]


def test_a_request_that_the_cluster_can_serve_passes():
    check_cluster(
        [Request("fetch"), Request("train", "gpu", gpus=16, nodes=2, gpu_model="h100", mem_mb=400_000)], CLUSTER
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("fetch", "cqu"), r"no partition 'cqu' \(did you mean 'cpu'\?\); set slurm_partition"),
        (Request("train", "cpu", gpus=1), "1 GPU\\(s\\) on a node, but partition 'cpu' has at most 0"),
        (Request("train", gpus=1), "partition 'cpu' has at most 0"),  # the default partition
        (Request("train", "gpu", gpus=9), "9 GPU\\(s\\) on a node, but partition 'gpu' has at most 8"),
        (Request("train", "gpu", gpus=1, gpu_model="h200"), r"of model 'h200' .* \(models: a100, h100\)"),
        (Request("train", "gpu", gpus=8, gpu_model="a100"), "8 GPU\\(s\\) of model 'a100'"),
        (Request("train", "gpu", gpus=24, nodes=3, gpu_model="h100"), "3 nodes, but partition 'gpu' has 2"),
        (Request("train", "gpu", mem_mb=900_000), "900000 MB, but a node of partition 'gpu' has 512000"),
    ],
)
def test_what_a_cluster_cannot_give_is_said_with_the_mend(request_, message):
    with pytest.raises(UserError, match=message):
        check_cluster([request_], CLUSTER)


def test_a_cluster_that_does_not_exist_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="run it on the cluster's login node"):
        preflight.sinfo()


def test_a_gpu_asked_for_on_a_machine_without_is_refused(monkeypatch):
    monkeypatch.delenv("JMLR_DEVICE", raising=False)
    monkeypatch.setattr(preflight, "gpus_here", lambda: 0)
    check_machine([Request("train")])
    with pytest.raises(UserError, match="train: asks for 1 GPU\\(s\\), but this machine has 0; set JMLR_DEVICE=cpu"):
        check_machine([Request("train", gpus=1)])
    monkeypatch.setenv("JMLR_DEVICE", "cpu")
    check_machine([Request("train", gpus=1)])
    monkeypatch.setenv("JMLR_DEVICE", "cuda")
    with pytest.raises(UserError, match="JMLR_DEVICE=cuda, but this machine has 0"):
        check_machine([Request("encode")])


def test_resources_that_are_not_known_yet_count_as_not_asked_for():
    request = request_of("train", {"slurm_partition": "gpu", "mem_mb": "<TBD>", "gpu": 2})
    assert request == Request("train", "gpu", gpus=2)


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        ({"a.jsonl": b""}, "*", "empty: zero passages"),
        ({"a.jsonl": b" \n\n"}, "*.jsonl", "empty: zero passages"),
        ({"a.jsonl.gz": gzip.compress(b"\n")}, "*", "empty: zero passages"),
        ({"a.jsonl": b"{}"}, "*.parquet", "no file '\\*.parquet' among 1"),
        ({}, "*", "no file '\\*' among 0"),
        ({"a.jsonl.gz": b"not gzip"}, "*", "cannot be read"),
    ],
)
def test_a_corpus_of_zero_passages_is_refused(tmp_path, files, pattern, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        check_corpus("prepare.corpora[0]", preflight.files_of(str(tmp_path)), pattern)


def test_a_corpus_with_something_in_it_passes(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "deep/a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n'))
    for pattern in ("*", "*.gz", "deep/*", "a.jsonl.gz"):
        check_corpus("prepare.corpora[0]", preflight.files_of(str(tmp_path)), pattern)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "x"),
        OSError(27, "File too large"),
        OSError("4096 requested and 0 written"),
        RuntimeError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "..." }'),
        Exception("File too large (os error 27)"),
    ],
)
def test_a_full_disk_is_known_by_all_its_names(error):
    assert full_disk(error).startswith("cannot write")
    wrapped = ValueError("while writing")
    wrapped.__cause__ = error
    assert full_disk(wrapped).startswith("cannot write")


@pytest.mark.parametrize(
    "error", [OSError(2, "No such file or directory"), ValueError("28"), UserError("code: 280"), None]
)
def test_other_errors_are_not_taken_for_a_full_disk(error):
    assert full_disk(error) == ""


def test_the_summary_counts_every_job_of_the_run(tmp_path):
    for n, name in enumerate(("train", "answer")):
        (tmp_path / name).mkdir()
        manifest = {"stage": name, "seconds": 1800, "gpu_hours": 0.5, "peak_bytes": (n + 1) << 30}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    text = summary(str(tmp_path), time.monotonic() - 90)
    assert text == (
        "cost: 1 min 30 s of wall time for this call; the run's 2 jobs: 1 h 00 min of computing, 1.00 GPU hours, "
        "peak memory 2.0 GiB (answer)"
    )
