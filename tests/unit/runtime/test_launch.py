import subprocess

import pytest

from jmlr.runtime.errors import UserError
from jmlr.runtime.launch import launch, tell_torchrun
from jmlr.runtime.shards import shard_of, shard_rows
from ranks import environment, torchrun


def test_one_process_needs_no_launcher():
    assert launch(gpus=0, nodes=1, threads=3) == "OMP_NUM_THREADS=3"
    assert launch(gpus=1, nodes=1, threads=8) == "OMP_NUM_THREADS=8"


def test_the_cores_of_a_node_are_shared_by_its_processes():
    line = launch(gpus=4, nodes=1, threads=8)
    assert line.startswith("OMP_NUM_THREADS=2 TORCHELASTIC_SIGNALS_TO_HANDLE=")
    assert line.endswith(" torchrun --standalone --nproc-per-node=4 --no-python")
    assert launch(gpus=4, nodes=1, threads=2).startswith("OMP_NUM_THREADS=1 ")


def test_several_nodes_meet_where_slurm_says():
    line = launch(gpus=8, nodes=2, threads=16)
    assert line.startswith("OMP_NUM_THREADS=4 ")
    assert " srun --nodes=2 --ntasks=2 --ntasks-per-node=1 bash -c '" in line
    assert "--nnodes=2 --nproc-per-node=4" in line
    assert "SLURM_LAUNCH_NODE_IPADDR" in line


def test_what_knows_one_process_gets_one_whatever_the_job_was_given():
    assert launch(gpus=8, nodes=2, threads=16, one=True) == "OMP_NUM_THREADS=16"


@pytest.mark.parametrize(("gpus", "nodes"), [(3, 2), (0, 2)])
def test_gpus_that_do_not_spread_over_the_nodes_are_refused(gpus, nodes):
    with pytest.raises(UserError, match=f"{gpus} GPUs on {nodes} nodes"):
        launch(gpus=gpus, nodes=nodes, threads=1)


@pytest.mark.parametrize(("rows", "count"), [(10, 4), (3, 5), (0, 2), (100, 1)])
def test_shards_cover_every_row_once(rows, count):
    covered = [row for i in range(count) for row in range(*shard_rows(f"{i}/{count}", rows))]
    assert covered == list(range(rows))


@pytest.mark.parametrize("text", ["2/2", "-1/2", "a/b", "1", "", "1/0"])
def test_a_wrong_shard_is_refused(text):
    with pytest.raises(UserError, match="--shard"):
        shard_of(text)


def test_torchrun_ends_with_the_line_that_a_rank_ended_with(tmp_path):
    """Fix: Leave the line where torchrun looks for it; its own traceback comes after what the ranks said."""
    words = torchrun("pretrain", "--out", tmp_path / "out", "--prepared", tmp_path, "--seed", 0, "--stesp", 5)
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip("=- ")][-1]
    assert "jmlr pretrain: unknown option --stesp (did you mean '--steps'?)" in last


def test_without_torchrun_nothing_is_left_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    tell_torchrun("jmlr train: no")
    assert list(tmp_path.iterdir()) == []
