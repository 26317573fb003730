import json
import os
import time

import pytest

from jmlr.runtime import preflight
from jmlr.runtime.errors import UserError, full_disk
from jmlr.runtime.preflight import Request, check_cluster, check_machine, megabytes, minutes, parse_nodes, request_of
from jmlr.runtime.summary import summary

CLUSTER = [
    parse_nodes(line)
    for line in (
        "cpu*|40|256000|(null)|12:00:00|64",
        "gpu|2|512000|gpu:h100:8(S:0-1)|1-00:00:00|96",
        "gpu|4|512000+|gpu:a100:4|1-00:00:00|32+",
        "long|8|128000|(null)|infinite|16",
    )
]


def test_a_request_that_the_cluster_can_serve_passes():
    check_cluster(
        [
            Request("fetch", runtime_min=720, threads=64),
            Request("train", "gpu", gpus=16, nodes=2, gpu_model="h100", mem_mb=400_000, threads=96, runtime_min=1440),
            Request("encode", "gpu,long", gpus=1),  # sbatch takes a list: one that can do it is enough
            Request("prepare", "gpu,long", runtime_min=99_999, threads=16),
        ],
        CLUSTER,
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
        (
            Request("train", "gpu", threads=97),
            "97 threads, but a node of partition 'gpu' has 96 cores; set set-threads",
        ),
        (
            Request("train", "gpu", gpus=4, gpu_model="a100", threads=64),
            "64 threads, but a node of partition 'gpu' has 32",
        ),
        (
            Request("train", "gpu", runtime_min=1441),
            "1441 minutes, but partition 'gpu' allows 1440; set runtime of the rule",
        ),
        (Request("fetch", runtime_min=721), "721 minutes, but partition 'cpu' allows 720"),
        (Request("train", "gpu,logn"), r"no partition 'logn' \(did you mean 'long'\?\)"),
        (Request("train", "cpu,long", gpus=1), "1 GPU\\(s\\) on a node, but partition 'cpu' has at most 0"),
    ],
)
def test_what_a_cluster_cannot_give_is_said_with_the_mend(request_, message):
    with pytest.raises(UserError, match=message):
        check_cluster([request_], CLUSTER)


@pytest.mark.parametrize(
    ("gres", "gpus", "models"),
    [
        ("(null)", 0, set()),
        ("gpu:2", 2, set()),
        ("gpu:8(S:0-1)", 8, set()),
        ("gpu:tesla:2(S:0,1),shard:16", 2, {"tesla"}),
        ("gpu:3g.40gb:2", 2, {"3g.40gb"}),
        ("gpu:a100:4,gpu:1g.10gb:14(S:0)", 18, {"a100", "1g.10gb"}),
        ("gpu:1080:4", 4, {"1080"}),
        ("gpu:tesla:no_consume:4", 4, {"tesla"}),
        ("gpu:no_consume:4(S:0)", 4, set()),
        ("gpu:a100:no_consume:2(S:0),gpu:no_consume_x:1", 3, {"a100", "no_consume_x"}),
    ],
)
def test_gpus_are_read_from_what_sinfo_writes(gres, gpus, models):
    nodes = parse_nodes(f"gpu|1|1000|{gres}|infinite|8")
    assert (nodes.gpus, nodes.gpu_models) == (gpus, models)


def test_later_attempts_ask_for_more_time_up_to_what_the_partition_allows(monkeypatch):
    monkeypatch.setattr(preflight, "_limits_min", {})
    assert [minutes("encode", 240, n) for n in (1, 2, 3, 4)] == [240, 480, 720, 960]  # no cluster was asked
    check_cluster([Request("encode", "gpu,long", gpus=1), Request("fetch"), Request("index", "cpu,long")], CLUSTER)
    assert [minutes("encode", 600, n) for n in (1, 2, 3, 4)] == [600, 1200, 1440, 1440]  # `long` has no GPU
    assert [minutes("fetch", 480, n) for n in (1, 2, 3)] == [480, 720, 720]
    assert minutes("index", 480, 9) == 4320
    assert minutes("answer", 480, 3) == 1440  # another rule


def test_later_attempts_ask_for_more_memory_up_to_what_a_node_has(monkeypatch):
    # a job cancelled six times asked for seven times its memory: "Memory specification can not be satisfied"
    monkeypatch.setattr(preflight, "_limits_mb", {})
    assert [megabytes("encode", 1500, n) for n in (1, 2, 9)] == [1500, 3000, 13500]  # no cluster was asked
    asked = [Request("train", "gpu,long", gpus=1, gpu_model="a100"), Request("index", "long"), Request("fetch")]
    check_cluster(asked, CLUSTER)
    assert [megabytes("train", 300_000, n) for n in (1, 2, 3)] == [300_000, 512_000, 512_000]  # `long` has no GPU
    assert megabytes("index", 100_000, 7) == 128_000
    assert megabytes("fetch", 100_000, 7) == 256_000
    assert megabytes("answer", 2000, 7) == 14_000  # another rule


@pytest.mark.parametrize("path", ["models/llama-7b-typo", "a/b/c", "./llama", "../llama", "/nowhere/llama"])
def test_a_local_model_that_is_missing_is_not_taken_for_a_name_on_the_hub(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(UserError, match=f"config: models.llm.path: there is no '{path}'"):
        preflight.located(path, "models.llm.path")


@pytest.mark.parametrize(
    "path", ["meta-llama/Llama-2-7b-hf", "gpt2", "", "source:world/sub/tokenizer.json", "model:llm"]
)
def test_a_name_on_the_hub_or_a_part_of_the_run_need_not_be_here(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert preflight.located(path, "models.llm.path") == path


def test_a_cluster_that_does_not_exist_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="run it on the cluster's login node"):
        preflight.sinfo()


def test_hidden_partitions_are_seen(tmp_path, monkeypatch):
    """As sinfo does: those with Hidden=YES are listed under --all alone."""
    shown, all_of_it = "cpu*|40|256000|(null)|12:00:00|64", "secret|2|512000|gpu:h100:8|1-00:00:00|96"
    script = f"#!/bin/sh\necho '{shown}'\ncase \" $* \" in *' --all '*) echo '{all_of_it}';; esac\n"
    for name in ("sinfo", "sbatch"):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check_cluster([Request("train", "secret", gpus=8)], preflight.sinfo())


def test_the_check_says_what_it_read_of_times_and_resources(monkeypatch, capsys):
    class Job:
        threads = 8

        def __init__(self, name, **resources):
            self.name, self.resources = name, resources

    monkeypatch.setattr(preflight, "sinfo", lambda: CLUSTER)
    monkeypatch.delenv("SQUEUE_ALL", raising=False)
    train = {"slurm_partition": "long", "gpu": 0, "mem_mb": 3000, "runtime": 7200}
    preflight.check_jobs([Job("train", **train), Job("train", **train), Job("fetch", runtime=60)], local=False)
    assert capsys.readouterr().err == (
        "first attempts ask for:\n  fetch: 8 threads, 60 min (1 h 00 min)\n"
        "  train: 8 threads, 3000 MB, 7200 min (120 h 00 min), partition 'long'\n"
    )
    assert os.environ["SQUEUE_ALL"] == "1", "the plugin asks squeue, which hides jobs of hidden partitions from users"
    preflight.check_jobs([Job("fetch", runtime=60)], local=False, overrides=["seeds=[0]"])
    assert capsys.readouterr().err.splitlines()[2:] == [
        "note: --config; a job that it does not reach unchanged ends with one line in .snakemake/slurm_logs"
    ]
    preflight.check_jobs([Job("train", **train)], local=True, overrides=["seeds=[0]"])
    assert not capsys.readouterr().err


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
    request = request_of("train", {"slurm_partition": "gpu", "mem_mb": "<TBD>", "gpu": 2, "runtime": 60}, 8)
    assert request == Request("train", "gpu", gpus=2, threads=8, runtime_min=60)


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


def test_the_summary_shows_the_table_unless_something_was_made_after_it(tmp_path):
    for name in ("answer", "report"):
        (tmp_path / name).mkdir()
        manifest = {"stage": name, "seconds": 1, "gpu_hours": 0.0, "peak_bytes": 1 << 30}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "report/table.txt").write_text("JMLR 78.8\n")
    os.utime(tmp_path / "answer/manifest.json", (1, 1))
    first, _, page, cost = summary(str(tmp_path), time.monotonic()).splitlines()
    assert (first, page) == ("JMLR 78.8", f"report: {tmp_path}/report/report.html")
    assert cost.startswith("cost: ")
    os.utime(tmp_path / "report/manifest.json", (0, 0))
    assert summary(str(tmp_path), time.monotonic()).startswith("cost: ")
