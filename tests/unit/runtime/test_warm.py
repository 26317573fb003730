"""A fork of the process that has the libraries is what a fresh process would be, and whatever goes wrong is told or done without it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jmlr.runtime.warm import THREADS, VARIABLE, keep_warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

# What a job does here instead of a stage's work: it tells of itself, or does what its second argument says.
JOB = """
import atexit, json, os, signal, sys, threading, time
def job():
    what = sys.argv[2]
    print("begun", file=sys.stderr, flush=True)
    if what == "last":
        atexit.register(lambda: print("last words"))
        threading.Thread(target=lambda: [time.sleep(0.3), print("of a thread")]).start()
        return 3
    if what == "fail":
        raise ValueError("the job's own mistake")
    if what == "exit":
        sys.exit(7)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wait":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("told", file=sys.stderr)))
        for _ in range(600):
            time.sleep(0.1)
    mask = os.umask(0)
    import torch
    print(json.dumps({
        "argv": sys.argv[1:], "cwd": os.getcwd(), "umask": mask, "path": sys.path, "threads": torch.get_num_threads(),
        "environment": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
        "ignored": [n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "files": sorted(os.listdir("/proc/self/fd")), "read": sys.stdin.read(),
    }))
    return 0
"""
SERVER = (
    JOB
    + """
import jmlr.warm as w
w.main, w.LIBRARIES, w.MODELS, w.OURS, w.WITH_MODELS = job, sys.argv[3:], (), (), ()
sys.exit(w._main(int(sys.argv[1]), sys.argv[2]))
"""
)
CLIENT = (
    JOB
    + "from jmlr.runtime.warm import run_warm\ncode = run_warm(sys.argv[1:])\nsys.exit(job() if code is None else code)\n"
)


class Warm:
    """A process that forks, and the environment in which it is found."""

    def __init__(self, folder: Path, *libraries: str) -> None:
        folder.mkdir(mode=0o700)
        self.environment = {k: v for k, v in os.environ.items() if k not in THREADS} | {"TQDM_DISABLE": "1"}
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(f"{folder}/door")
            door.listen()
            own = {**self.environment, **dict.fromkeys(THREADS, "1")}
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVER, str(door.fileno()), str(folder), *libraries],
                env=own, pass_fds=[door.fileno()], stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        self.environment |= {VARIABLE: f"{folder}/door", "OMP_NUM_THREADS": "1"}

    def start(self, *words: str, warm: bool = True, **environment: str) -> subprocess.Popen[str]:
        """Start a stage's own process, which waits for the fork."""
        own = {**self.environment, **environment} | ({} if warm else {VARIABLE: "0"})
        return subprocess.Popen(
            [sys.executable, "-P", "-c", CLIENT, "encode", *words], env=own, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, warm: bool = True, **environment: str) -> tuple[int, str, str]:
        """Run a stage's own process; return its exit code and what it wrote."""
        running = self.start(*words, warm=warm, **environment)
        out, err = running.communicate("some words", timeout=60)
        return running.returncode, out, err


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    made = Warm(tmp_path / "warm")
    yield made
    made.process.communicate(timeout=60)


def forks(of: subprocess.Popen[bytes]) -> list[int]:
    """Return the jobs of a process that forks."""
    return [int(n) for n in Path(f"/proc/{of.pid}/task/{of.pid}/children").read_text().split()]


def begun(job: subprocess.Popen[str]) -> None:
    assert job.stderr is not None
    assert job.stderr.readline() == "begun\n"


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_fork_is_what_a_fresh_process_is(threads: str, tmp_path: Path) -> None:
    warm = Warm(tmp_path / "warm", "torch", "pyarrow")
    given = {"OMP_NUM_THREADS": threads, "SHLVL": "9", "TMPDIR": "/tmp"}
    (code, out, err), (code_fresh, out_fresh, err_fresh) = (warm.run("tell", warm=w, **given) for w in (True, False))
    assert (code, err) == (code_fresh, err_fresh) == (0, "begun\n")
    fork, fresh = json.loads(out), json.loads(out_fresh)
    assert fresh["environment"].pop(VARIABLE) == "0"
    assert fork == fresh
    assert fork["threads"] == int(threads)
    assert fork["read"] == "some words"
    warm.process.communicate()


def test_ignored_signals_and_the_umask_are_those_of_the_process_that_waits(warm: Warm) -> None:
    code = CLIENT.replace("\nfrom jmlr", "\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nos.umask(0o027)\nfrom jmlr")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "encode", "tell"],
        env=warm.environment,
        capture_output=True,
        input=b"",
        check=True,
    )
    told = json.loads(done.stdout)
    assert signal.SIGINT in told["ignored"]
    assert told["umask"] == 0o027


def test_a_failing_job_says_why_once_and_its_exit_code_is_passed_on(warm: Warm) -> None:
    code, _, err = warm.run("fail")
    assert code == 1
    assert err.count("ValueError: the job's own mistake") == 1
    assert "Traceback" in err
    assert warm.run("exit")[::2] == (7, "begun\n")


@pytest.mark.parametrize("forked", [True, False])
def test_a_job_waits_for_its_threads_and_says_its_last_words(warm: Warm, forked: bool) -> None:
    assert warm.run("last", warm=forked) == (3, "of a thread\nlast words\n", "begun\n")


def test_a_job_that_is_killed_takes_the_process_that_waits_with_it(warm: Warm) -> None:
    assert warm.run("die") == (-signal.SIGKILL, "", "begun\n")


def test_a_signal_is_passed_on_once(warm: Warm) -> None:
    job = warm.start("wait")
    begun(job)
    time.sleep(0.3)  # the job's handler
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=30)
    assert err == "told\n"
    assert job.returncode == 0


def test_where_the_process_that_waits_is_killed_the_job_is_too(warm: Warm) -> None:
    job = warm.start("wait")
    begun(job)
    [fork] = forks(warm.process)
    job.kill()
    job.communicate(timeout=30)
    assert warm.run("exit")[0] == 7  # who comes next finds the last one dead
    assert not Path(f"/proc/{fork}").exists()


def test_where_the_process_that_forks_is_killed_its_jobs_are_and_the_failure_is_told(tmp_path: Path) -> None:
    warm = Warm(tmp_path / "warm")
    job = warm.start("wait")
    begun(job)
    [fork] = forks(warm.process)
    warm.process.kill()
    _, err = job.communicate(timeout=30)
    assert job.returncode == 1
    assert err == f"jmlr encode: the process that ran it ({VARIABLE}) has died; begin again\n"
    with contextlib.suppress(FileNotFoundError):  # its zombie may stand until somebody waits for it
        assert " Z " in Path(f"/proc/{fork}/stat").read_text()
    assert warm.run("tell")[0] == 0, "the next one runs by itself"
    warm.process.communicate()


def test_it_ends_with_the_process_that_started_it_and_asks_its_jobs_to_end(tmp_path: Path) -> None:
    warm = Warm(tmp_path / "warm")
    job = warm.start("wait")
    begun(job)
    time.sleep(0.3)
    warm.process.communicate(timeout=30)  # closes its standard input, as the end of the other does
    assert job.communicate(timeout=30)[1] == "told\n"
    assert warm.process.returncode == 0
    assert not (tmp_path / "warm").exists()


@pytest.mark.parametrize(
    ("other", "served"),
    [({}, 1), ({"MKL_NUM_THREADS": "2"}, 0), ({"OMP_NUM_THREADS": ""}, 0), ({"CUDA_VISIBLE_DEVICES": "1"}, 0), ({"HF_HOME": "/"}, 0),
     ({"WORLD_SIZE": "2"}, 0), ({"JMLR_DEVICE": "cpu"}, 0), ({VARIABLE: "/nowhere"}, 0)],
    ids=str,
)  # fmt: skip
def test_where_the_environment_is_another_a_stage_runs_by_itself(
    warm: Warm, other: dict[str, str], served: int
) -> None:
    job = warm.start("wait", **other)
    begun(job)
    assert len(forks(warm.process)) == served
    job.kill()
    job.communicate()


def test_what_a_shell_takes_from_the_environment_does_not_make_it_another() -> None:
    """An activated environment exports PS1, and a shell that runs a job takes it away."""
    code = "import json; from jmlr.runtime.warm import identity; print(json.dumps(identity(), sort_keys=True))"
    environment = {**os.environ, "PS1": "(.venv) $ ", "PS2": "> "}
    ways = ([sys.executable, "-c", code], ["bash", "-c", '"$0" -c "$1"', sys.executable, code])
    told = [subprocess.run(way, env=environment, capture_output=True, text=True, check=True).stdout for way in ways]
    assert told[0] == told[1]


def test_two_names_of_an_interpreter_in_one_folder_are_one(tmp_path: Path) -> None:
    code = "import json; from jmlr.runtime.warm import identity; print(json.dumps(identity()['python']))"
    folder = Path(sys.executable).parent
    names = [folder / name for name in ("python", "python3") if (folder / name).exists()]
    assert len({subprocess.check_output([name, "-c", code], text=True, cwd=tmp_path) for name in names}) == 1


def test_another_interpreter_runs_by_itself(warm: Warm) -> None:
    code = "import sys\nsys.executable = '/another/python'\n" + CLIENT
    job = subprocess.Popen(
        [sys.executable, "-P", "-c", code, "encode", "wait"], env=warm.environment, stderr=subprocess.PIPE, text=True
    )
    begun(job)
    assert forks(warm.process) == []
    job.kill()
    job.communicate()


@pytest.mark.parametrize("words", [["index"], ["encode", "--help"], []], ids=str)
def test_only_stages_with_models_are_forked(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from jmlr.runtime import warm as client

    monkeypatch.setenv(VARIABLE, "/somewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(client, "_accepted", lambda *_: pytest.fail("asked"))
    assert client.run_warm(words) is None


@pytest.mark.parametrize(
    ("local", "environments", "off"), [(False, False, ""), (True, True, ""), (True, False, "0")], ids=str
)
def test_nothing_is_started_for_a_cluster_for_conda_or_where_it_is_switched_off(
    local: bool, environments: bool, off: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, off)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    keep_warm(local=local, environments=environments)


def test_the_process_that_forks_has_one_thread_and_has_touched_no_gpu() -> None:
    code = "import os, jmlr.warm as w\nw.load()\nimport torch\nprint(w.clean(), len(os.listdir('/proc/self/task')), torch.cuda.is_initialized())"
    own = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    assert done.stdout == "True 1 False\n"
