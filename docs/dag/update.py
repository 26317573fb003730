"""Draw the workflow as it is: docs/dag/dag.svg from `snakemake --rulegraph`.

.venv/bin/python docs/dag/update.py        # needs graphviz's dot on PATH
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def graph() -> str:
    """Return the graph of rules in graphviz's language."""
    command = ["snakemake", "--cores", "1", "--forceall", "--rulegraph", "dot"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return text[text.index("digraph") :]


def main() -> None:
    """Write the picture."""
    if not shutil.which("dot"):
        sys.exit("no dot on PATH; on Debian or Ubuntu: apt-get install graphviz")
    drawn = subprocess.run(["dot", "-Tsvg"], input=graph(), capture_output=True, text=True, check=True).stdout
    (HERE / "dag.svg").write_text(drawn)


if __name__ == "__main__":
    main()
