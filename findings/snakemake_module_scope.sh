#!/usr/bin/env bash
# Snakemake 9.27.1: what of a `module:` with `prefix:` belongs to the module.
#
# The guess: rules that are used from a module work as they do alone, with every relative path below the prefix; its messages see the
# names of its own file, its `onstart:` runs, and `workflow.basedir` is its folder.
# What happens: outputs get the prefix, params do not. A message is formatted
# with the names of the file that uses the module, so a global of the module's own gives NameError when the job starts. `onstart:` of
# the module is not called. `workflow.basedir` in the module is the folder of the file that uses it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install snakemake==9.27.1
mkdir "$work/module" "$work/mine"
cat > "$work/module/Snakefile" <<'RULES'
title = "of the module"
print("basedir", workflow.basedir.rstrip("/").rsplit("/", 1)[-1])
onstart:
    print("onstart of the module")
rule make:
    output: "made.txt"
    params: other="beside.txt"
    shell: "echo {output} {params.other} > {output}"
rule titled:
    output: "titled.txt"
    message: "message: {title}"
    shell: "touch {output}"
RULES
cat > "$work/mine/Snakefile" <<'RULES'
module theirs:
    snakefile: "../module/Snakefile"
    config: config
    prefix: "below"
use rule * from theirs
RULES
cd "$work/mine"
plain=$("$work/venv/bin/snakemake" --cores 1 below/made.txt 2>&1)
paths=$(cat below/made.txt)
named=$("$work/venv/bin/snakemake" --cores 1 below/titled.txt 2>&1 || true)
cd "$work/module"
alone=$("$work/venv/bin/snakemake" --cores 1 titled.txt 2>&1)
"$work/venv/bin/snakemake" --version
started=$(grep -c "onstart of the module" <<< "$plain" || true)
base=$(grep -m1 "^basedir" <<< "$plain")
alone_message=$(grep -c "message: of the module" <<< "$alone" || true)
module_message=$(grep -c "NameError" <<< "$named" || true)
echo "output and params in the module's shell:   $paths"
echo "calls of the module's onstart:             $started"
echo "workflow.basedir in the module:            $base"
echo "a message with a name of its own file, alone: $alone_message formatted; from a module: $module_message NameErrors"
if [ "$paths" = "below/made.txt beside.txt" ] && [ "$started" = 0 ] && [ "$base" = "basedir mine" ] && [ "$alone_message" != 0 ] && [ "$module_message" != 0 ]; then
  echo "as found"
else
  echo "the behaviour has changed"
  exit 1
fi
