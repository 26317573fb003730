#!/usr/bin/env bash
# Snakemake 9.27.1: `set-resources` of a profile and `--set-resources` of the command line.
#
# The guess: they are merged, rule by rule and resource by resource; the command line wins where both speak. The option's
# argument is a list of RULE:RESOURCE=VALUE, and `snakemake --set-resources train:mem_mb=9` names one value of one rule.
# What happens: one value on the command line drops everything that the profile sets, for other rules too: here the GPU.
# It is likewise with two --set-resources options: the last alone counts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install snakemake==9.27.1
cd "$work"
mkdir profile
cat > profile/config.yaml <<'YAML'
set-resources:
  train: {gpu: 1}
  encode: {gpu: 1}
YAML
cat > Snakefile <<'RULES'
rule train:
    input: "encoded"
    output: "trained"
    shell: "touch {output}"
rule encode:
    output: "encoded"
    shell: "touch {output}"
RULES
gpus() { venv/bin/snakemake --dry-run --cores 1 "$@" 2>&1 | { grep '^ *resources: .*gpu=1' || true; } | wc -l; }
given=(--set-resources train:mem_mb=9)
profile=$(gpus --profile profile)
both=$(gpus --profile profile "${given[@]}")
twice=$(gpus --set-resources encode:gpu=1 "${given[@]}")
venv/bin/snakemake --version
echo "jobs with a GPU, by the profile:                         $profile"
echo "jobs with a GPU, by the profile and ${given[*]}: $both"
echo "jobs with a GPU, by encode:gpu=1 and another such option: $twice"
if [ "$profile $both $twice" = "2 0 0" ]; then echo "as found"; else echo "the behaviour has changed"; exit 1; fi
