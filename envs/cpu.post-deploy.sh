#!/usr/bin/env bash
# Snakemake runs this inside the environment that it has just made: the package itself, built here and taken from the
# checkout's sources, its dependencies left as they are pinned.
set -euo pipefail
cd "${JMLR_CHECKOUT:?the folder of a clone; workflow/rules/common.smk sets it where the workflow lies in one}"
python -m pip install --no-deps --no-build-isolation --editable .
