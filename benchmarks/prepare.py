"""Memory and CPU time of `prepare` as the corpus grows: peak RSS, and CPU seconds a passage, of this build and of another one.

python benchmarks/prepare.py                                            # writes benchmarks/prepare.json
python benchmarks/prepare.py --baseline ../older --sizes 200000 2000000 --near 0.9

The passages are made up: 45 words each, one in twenty a copy of an earlier one, one in twenty the same but for a word. Every
run is a process of its own; the builds take turns, since CPU time on a shared machine is noisy. Both run on this
environment's packages: `python -S` leaves its own build of jmlr out, and PYTHONPATH names the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORDS, SENTENCES, COPIED = 15, 3, 20
OPTIONS = {
    "corpora": [{"source": "made", "file": "passages.jsonl"}],
    "questions": [{"source": "made", "file": "questions.jsonl"}],
    "documents": [],
}


def make(folder: Path, count: int) -> None:
    """Write `count` passages and a question into a folder that looks like one of `fetch`."""
    rng = random.Random(0)
    words = [f"word{i}" for i in range(5000)]
    known = [" ".join(rng.choices(words, k=WORDS)).capitalize() + "." for _ in range(20_000)]
    earlier: list[list[str]] = []
    folder.mkdir(parents=True)
    with (folder / "passages.jsonl").open("w") as file:
        for number in range(count):
            kind = number % COPIED
            if kind < 2 and earlier:  # a copy; and one with another last word
                text = list(rng.choice(earlier))
                text[-1] = text[-1] if kind else f"{text[-1][:-1]} {number}."
            else:
                text = [*rng.choices(known, k=SENTENCES - 1), f"The number of this passage is {number}."]
                if kind == 2 and len(earlier) < 10_000:
                    earlier.append(text)
            file.write(
                json.dumps({"id": f"p{number}", "title": f"Title {number % 1000}", "text": " ".join(text)}) + "\n"
            )
    question = {
        "id": "q",
        "question": "Which is it?",
        "options": {"A": "one", "B": "two"},
        "answer": "A",
        "split": "test",
    }
    (folder / "questions.jsonl").write_text(json.dumps(question) + "\n")


def run(checkout: Path, fetched: Path, near: float) -> dict[str, float]:
    """Run `prepare` of a checkout in a process of its own; return its peak of memory and its CPU seconds."""
    given = [f"--{name}={json.dumps(value)}" for name, value in OPTIONS.items()]
    paths = [str(checkout / "src"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=fetched.parent) as out:
        command = [sys.executable, "-S", "-m", "jmlr", "prepare", "--out", f"{out}/prepare", "--fetched", str(fetched)]
        process = subprocess.Popen([*command, *given, f"--near-duplicates={near}"], env=environment, stdout=sys.stderr)
        _, status, used = os.wait4(process.pid, 0)  # the child's own figures, unlike RUSAGE_CHILDREN's largest of all
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{checkout}: prepare ended with {process.returncode}")
        notes = json.loads((Path(out) / "prepare/manifest.json").read_text())["notes"]["passages"]["made"]
    return {"peak_mb": _peak_mb(used), "cpu_seconds": used.ru_utime + used.ru_stime, "passages": notes["passages"]}


def _peak_mb(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return f"{known['model name']} (family {known['cpu family']}, model {known['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000, 2_000_000], help="numbers of passages")
    parser.add_argument("--baseline", type=Path, help="another checkout to run beside this one")
    parser.add_argument("--near", type=float, default=0.0, help="near_duplicates")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each")
    parser.add_argument("--folder", type=Path, help="where the passages go; some 2 GB for 2,000,000")
    parser.add_argument("--out", type=Path, default=HERE / "prepare.json")
    given = parser.parse_args()
    builds = {"this": HERE.parent, **({"baseline": given.baseline.resolve()} if given.baseline else {})}
    runs: dict[str, dict[int, list[dict[str, float]]]] = {b: {n: [] for n in given.sizes} for b in builds}
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        make(Path(made) / "warm" / "made", 100)
        for checkout in builds.values():
            run(checkout, Path(made) / "warm" / "made", given.near)  # compiles its modules
        for size in given.sizes:
            fetched = Path(made) / str(size) / "made"
            make(fetched, size)
            for _ in range(given.rounds):
                for build, checkout in builds.items():
                    runs[build][size].append(run(checkout, fetched, given.near))
                    print(f"{build:10} {size:>10,} {runs[build][size][-1]}", flush=True)
    figures: dict[str, Any] = {"sizes": given.sizes, "near_duplicates": given.near, "processor": _processor()}
    small, large = min(given.sizes), max(given.sizes)
    for build, by_size in runs.items():
        peak = {n: round(min(r["peak_mb"] for r in found), 1) for n, found in by_size.items()}
        cpu = {n: round(min(r["cpu_seconds"] for r in found) / n * 1e6, 2) for n, found in by_size.items()}
        kept = {n: found[0]["passages"] for n, found in by_size.items()}
        figures[build] = {"peak_mb": peak, "cpu_us_per_passage": cpu, "passages_kept": kept}
        figures[build]["peak_ratio"] = round(peak[large] / peak[small], 3)
    if given.baseline:
        for name in ("peak_mb", "cpu_us_per_passage"):
            figures[f"{name}_this_to_baseline"] = round(
                figures["this"][name][large] / figures["baseline"][name][large], 3
            )
    print(json.dumps(figures, indent=1))
    given.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
