"""What a search takes of the machine, and how it ends with the process, by Ctrl-C, or for want of memory."""

import os
import signal
import subprocess
import sys
import time

import pytest

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MEMORY = """
import re
import sys
import numpy as np
from jmlr.topk import Index, MaxSimIndex

def peak_mib(field="VmHWM"):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

rng = np.random.default_rng(1)
x = rng.standard_normal((120_000, 2), dtype=np.float32)
q = rng.standard_normal((512, 2), dtype=np.float32)
index = Index.build(x) if sys.argv[1] == "dense" else MaxSimIndex.build(x, np.arange(len(x) + 1))
given = q if sys.argv[1] == "dense" else q[:, None]
index.search(given[:1], 4000, threads=16)
before = peak_mib("VmRSS")
index.search(given, 4000, threads=16)
print(peak_mib() - before)
"""


@needs_linux
@pytest.mark.parametrize("kind", ["dense", "maxsim"])
def test_candidates_of_many_threads_queries_and_a_large_k_stay_within_their_bound(kind):
    """512 queries, k = 4,000, 16 threads: results take 24 MiB, and lists without a bound over a GiB."""
    done = subprocess.run([sys.executable, "-c", MEMORY, kind], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 512 + 24 + 64


DAEMON = """
import sys
import threading
import time
import numpy as np
from jmlr.topk import Index, MaxSimIndex

rng = np.random.default_rng(1)
x = rng.standard_normal((20_000, 64), dtype=np.float32)
index = Index.build(x) if sys.argv[1] == "dense" else MaxSimIndex.build(x, np.arange(len(x) + 1))
given = x[:64] if sys.argv[1] == "dense" else x[:64, None]

def work():
    while True:
        if sys.argv[1] == "build":
            Index.build(x, "int8")
        else:
            index.search(given, 10, threads=2)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""


@pytest.mark.parametrize("kind", ["dense", "maxsim", "build"])
def test_leaving_the_interpreter_while_a_daemon_thread_searches_is_no_crash(kind):
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", DAEMON, kind], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")


INTERRUPTED = """
import signal
import sys
import time
import numpy as np
from jmlr.topk import Index, MaxSimIndex, topk
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

x = np.random.default_rng(1).standard_normal((40_000, 512), dtype=np.float32)
index = Index.build(x)
print("ready", flush=True)
try:
    while True:
        if sys.argv[1] == "search":
            index.search(x, 1000)
        else:
            Index.build(x, "int8")
except KeyboardInterrupt:
    print(time.time(), flush=True)
"""


@pytest.mark.parametrize("what", ["search", "build"])
def test_ctrl_c_is_heard_within_a_second(what):
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, what], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        os.kill(running.pid, signal.SIGINT)
        assert float(running.stdout.readline()) - sent < 1
    assert running.returncode == 0
