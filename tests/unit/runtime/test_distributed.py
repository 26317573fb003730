"""Who a process is among the ranks of a training, read from what torchrun or SLURM set."""

import pytest
import torch

from jmlr.runtime import distributed
from jmlr.runtime.distributed import Ranks, first_host, from_environment
from jmlr.runtime.errors import UserError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu07", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "123456",
}


def test_torchrun_s_variables_are_read_and_go_before_slurm_s():
    assert from_environment({**SLURM, **TORCHRUN}) == (
        Ranks(3, 4, 1),
        {"MASTER_ADDR": "gpu07", "MASTER_PORT": "29500"},
    )


def test_tasks_of_one_srun_find_each_other_on_its_first_node():
    assert from_environment(SLURM) == (Ranks(2, 4, 0), {"MASTER_ADDR": "gpu07", "MASTER_PORT": "23456"})
    assert from_environment({**SLURM, "MASTER_PORT": "29999"})[1]["MASTER_PORT"] == "29999"


@pytest.mark.parametrize(
    "env", [{}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}]
)
def test_a_process_that_was_started_once_is_alone(env):
    assert from_environment(env) == (Ranks(), {})


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("a", "a"), ("a,b", "a"), ("n[3,5-7]", "n3"), ("n[08-11],m2", "n08"), ("r1-[2-3].x,b", "r1-2.x"), ("", "")],
)
def test_the_first_host_of_a_compressed_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize("key", ["WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"])
def test_a_missing_variable_is_named(key):
    with pytest.raises(UserError, match=key):
        from_environment({k: v for k, v in TORCHRUN.items() if k != key})


def test_alone_nothing_is_exchanged_and_nothing_changes():
    gradient = torch.ones(2, requires_grad=True)
    gradient.grad = torch.tensor([1.0, 2.0])
    with distributed.joined() as ranks:
        distributed.add_up_gradients([gradient])
        assert distributed.same_everywhere(7, "it", "") == 7
    assert ranks == Ranks()
    assert gradient.grad.tolist() == [1.0, 2.0]
