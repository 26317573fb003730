#!/usr/bin/env bash
# faiss-cpu 1.15.1 (x86-64 Linux wheel): the matrix products of IndexFlatIP and IndexFlatL2 come from an OpenBLAS 0.3.15 of 2021 inside
# the wheel. A processor that is younger it takes for a Prescott, with SSE kernels, though FAISS itself loads its AVX-512 code.
#
# The guess: a current FAISS on a current processor multiplies with AVX-512 (its own log says "Loading faiss with AVX512 support").
# What happens: on an Intel Xeon of family 6, model 207, 512 queries against 200,000 x 768 took 4.7 to 5.8 s, and 0.9 s with
# OPENBLAS_CORETYPE=SKYLAKEX; so a benchmark that beats FAISS by five times may have beaten nothing else.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install faiss-cpu==1.15.1 numpy==2.2.6 threadpoolctl==3.6.0
cat > "$work/show.py" <<'PYTHON'
import sys
import time

import faiss
import numpy as np
from threadpoolctl import threadpool_info

own = [i for i in threadpool_info() if i["internal_api"] == "openblas" and "faiss" in i["filepath"]]
if len(own) != 1:
    sys.exit(f"FAISS brings {len(own)} OpenBLAS: the behaviour has changed")
index = faiss.IndexFlatIP(256)
index.add(np.random.default_rng(0).standard_normal((50_000, 256), dtype=np.float32))
queries = np.random.default_rng(1).standard_normal((512, 256), dtype=np.float32)
index.search(queries, 10)
start = time.perf_counter()
index.search(queries, 10)
print(own[0]["version"], own[0]["architecture"], f"{1e3 * (time.perf_counter() - start):.0f}")
PYTHON
read -r version chosen ms < <("$work/venv/bin/python" "$work/show.py")
echo "faiss-cpu 1.15.1 with OpenBLAS $version, which takes this processor for a $chosen: $ms ms"
if grep -qw avx512f /proc/cpuinfo; then
  read -r _ told faster < <(OPENBLAS_CORETYPE=SKYLAKEX "$work/venv/bin/python" "$work/show.py")
  echo "with OPENBLAS_CORETYPE=SKYLAKEX it takes $told: $faster ms"
fi
[ "$version" = 0.3.15 ] || { echo "another OpenBLAS: the behaviour has changed"; exit 1; }
case "$chosen" in
  Prescott) echo "as found" ;;
  *) echo "as found: the version; this processor is one that it knows" ;;
esac
