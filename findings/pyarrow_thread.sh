#!/usr/bin/env bash
# pyarrow 26.0.1 (Linux wheel): `import pyarrow` starts a thread, that of jemalloc, though mimalloc is the allocator in use.
#
# The guess: a process that has only imported numpy and pyarrow has one thread, so that it may fork (a fork has the calling thread
# alone), and ARROW_DEFAULT_MEMORY_POOL=system or mimalloc keeps jemalloc out of it.
# What happens: jemalloc is linked in and started with its background thread when the library is loaded, whatever pool is chosen.
# JE_ARROW_MALLOC_CONF=background_thread:false, read at that time, leaves one thread.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install pyarrow==26.0.1 numpy==2.2.6
show='import os, pyarrow; print(len(os.listdir("/proc/self/task")), pyarrow.default_memory_pool().backend_name)'
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
read -r plain pool < <("$work/venv/bin/python" -c "$show")
read -r chosen system < <(ARROW_DEFAULT_MEMORY_POOL=system "$work/venv/bin/python" -c "$show")
read -r told _ < <(JE_ARROW_MALLOC_CONF=background_thread:false "$work/venv/bin/python" -c "$show")
echo "pyarrow 26.0.1, pool $pool: $plain threads after the import; pool $system: $chosen; told to start none: $told"
[ "$pool" = mimalloc ] && [ "$plain" = 2 ] && [ "$chosen" = 2 ] && [ "$told" = 1 ] || { echo "the behaviour has changed"; exit 1; }
echo "as found"
