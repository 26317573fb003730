#!/usr/bin/env bash
# Snakemake runs this inside the environment that it has just made: the package itself, built here and taken from the
# checkout's sources, its dependencies left as they are pinned.
set -euo pipefail
cd "${JMLR_CHECKOUT:?set by workflow/rules/common.smk to the checkout}"
python -m pip install --no-deps --no-build-isolation --editable .
