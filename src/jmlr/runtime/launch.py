"""How one program becomes several processes: the words that a rule puts before `jmlr train`, `jmlr pretrain` or `jmlr answer`.

One process needs nothing; several on one node are started by torchrun; several nodes by one torchrun each, which SLURM's
srun starts and which meet at the address that SLURM names. `--no-python` makes torchrun start the same `jmlr` as a person.

>>> launch(gpus=0, nodes=1, threads=2)
'OMP_NUM_THREADS=2'
>>> launch(gpus=4, nodes=1, threads=8)[-52:]
'torchrun --standalone --nproc-per-node=4 --no-python'
"""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path

from jmlr.runtime.counting import count_of
from jmlr.runtime.errors import UserError

# torchrun passes these on to its processes, which save their state; else it would die of the last.
PASSED_ON = "TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGUSR1,SIGHUP"
# srun gives each node's shell SLURM's variables; job numbers spread the ports of trainings that share a node.
MEET = (
    "exec torchrun --nnodes={nodes} --nproc-per-node={each} --rdzv-backend=c10d --rdzv-id=$SLURM_JOB_ID"
    ' --rdzv-endpoint=$SLURM_LAUNCH_NODE_IPADDR:$((20000 + SLURM_JOB_ID % 20000)) --no-python "$@"'
)


def launch(*, gpus: int, nodes: int, threads: int, one: bool = False) -> str:
    """Return the words before a stage that several processes can share: one process for each GPU, one where there is none.

    Args:
        gpus: of the whole job
        nodes: of the job; several need SLURM
        threads: cores of the job on one node, shared by the processes there
        one: whether what is started knows one process only, whatever the job was given

    Raises:
        UserError: the GPUs cannot be spread evenly over the nodes.
    """
    if one:
        return f"OMP_NUM_THREADS={threads}"
    if nodes > 1 and (not gpus or gpus % nodes):
        raise UserError(
            f"{count_of(gpus, 'GPU')} on {nodes} nodes for one job; allowed: a multiple of the nodes (set-resources)"
        )
    each = max(1, gpus) // nodes
    words = f"OMP_NUM_THREADS={max(1, threads // each)}"
    if gpus > 1:
        words += f" {PASSED_ON}"
    if nodes > 1:
        shell = shlex.quote(MEET.format(nodes=nodes, each=each))
        return f"{words} srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 bash -c {shell} torchrun"
    return words if each == 1 else f"{words} torchrun --standalone --nproc-per-node={each} --no-python"


def tell_torchrun(line: str) -> None:
    """Leave the line that a rank ends with where torchrun looks: else its own traceback, which comes after it, is all that is last.

    torchrun then ends with the line of the rank that failed first. Without torchrun nothing is done.
    """
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        more = {"py_callstack": line, "timestamp": str(int(time.time()))}
        Path(file).write_text(json.dumps({"message": {"message": line, "extraInfo": more}}))
