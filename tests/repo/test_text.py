"""What must not stand in the repository: machine paths, hosts of package indexes, unsafe loading."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SELF = "tests/repo/test_text.py"
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.$}/-])/(?:root|work|mnt|scratch|home/\w+|Users/\w+|data\d*)/\w",
    "a temporary folder of one machine": r"(?<![\w.$}/-])/tmp/\w",
    "a host of a package index": r"--(?:extra-)?index-url|pypi\.org/simple|artifactory|nexus\.",
}
FORBIDDEN["the name of somebody else's distribution"] = r"pip install [^\n]*['\" ]jmlr(?![\w.-])"
HANDED_OVER = ROOT / "tests/unit/topk/test_library.py"  # multiprocessing pickles what it hands to its workers
UNSAFE = {
    "pickle": r"\b(?:import pickle|pickle\.loads?\(|cPickle|dill\.load|joblib\.load)",
    "arrays of objects": r"allow_pickle\s*=\s*True",
    "weights by pickle": r"torch\.load\((?![^)]*weights_only\s*=\s*True)",
    "code from the hub": r"trust_remote_code\s*=\s*True",
}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\n") if done.returncode == 0 and done.stdout else []
    found = [ROOT / n for n in names if n] or [p for p in ROOT.rglob("*") if ".venv" not in p.parts]
    return [p for p in found if p.is_file() and not p.is_symlink() and p.suffix not in (".png", ".gz", ".parquet")]


FILES = [p for p in tracked() if p.relative_to(ROOT).as_posix() not in (SELF, "LICENSE")]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what):
    """Fix: Remove it from the file; a path of one machine is never needed."""
    assert len(FILES) > 50
    found = [
        f"{p.relative_to(ROOT)}: {m[0]}" for p in FILES for m in re.finditer(FORBIDDEN[what], p.read_text("utf-8"))
    ]
    assert found == [], what


@pytest.mark.parametrize("what", UNSAFE)
def test_no_code_loads(what):
    """Fix: Load safetensors, JSON or Parquet instead."""
    code = [p for p in FILES if p != HANDED_OVER]
    code = [p for p in code if p.suffix in (".py", ".smk") or p.name == "Snakefile"]
    found = [p.relative_to(ROOT).as_posix() for p in code if re.search(UNSAFE[what], p.read_text("utf-8"))]
    assert found == [], what


def test_the_patterns_catch_what_they_are_for():
    """Fix: A pattern of this file was changed: correct it."""
    assert re.search(FORBIDDEN["a path of one machine"], 'open("/home/ann/data.csv")')
    assert not re.search(FORBIDDEN["a path of one machine"], "../data/mnt/x ${HOME}/mnt/x")
    assert re.search(UNSAFE["weights by pickle"], "torch.load(path)")
    assert not re.search(UNSAFE["weights by pickle"], "torch.load(path, weights_only=True)")


DATED = "log.md"  # a log is not rewritten
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def prose(text: str) -> list[str]:
    """Return the lines of a page that are prose: no code, table, heading, picture, nor what a program wrote between comments."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^<!-- [^\n]*begin -->$.*?^<!-- [^\n]*end -->$", "", text, flags=re.M | re.S)
    return ["" if re.match(r"[|#<!]| {4}", line) else line for line in text.splitlines()]


@pytest.mark.parametrize("page", [p for p in PROSE if p.name != DATED], ids=lambda p: p.name)
def test_prose_is_wrapped(page):
    """Fix: Wrap the paragraph at 120 characters."""
    assert [line for line in prose(page.read_text()) if len(line) > 120] == []


@pytest.mark.parametrize("page", [p for p in PROSE if p.name != DATED], ids=lambda p: p.name)
def test_a_sentence_has_at_most_30_words(page):
    """Fix: Make two sentences of it, or a table; code and links count as one word."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(prose(page.read_text())))
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", p)) for p in paragraphs]
    long = [s for p in plain for s in re.split(r"(?<=[.!?])\s+", p) if len(s.split()) > 30]
    assert long == []
