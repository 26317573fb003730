// The contract's score on the device: products added in float64, in index order, rounded once to float32.
#pragma once

#include "cuda/nominate.cuh"

namespace jmlr::cuda {

struct Exact {
  Rows rows;
  const float* queries;  // [B of the call, dim]
  const int32_t* which;  // [B] the query of the call that list number j is for; null: j
  Candidates list;
  bool range;  // false: the candidates; true: the rows first_row.. into the slots from `slot`
  uint32_t first_row, row_count, slot;
};

// A thread adds for a candidate; the 32 of a warp stage each other's rows, 32 coordinates at a time, so that memory is
// read in whole lines. Grid: (blocks of 128 candidates, query).
JMLR_KERNEL(128, 4) exact_kernel(Exact a) {
  __shared__ float staged[4][32][33];
  const uint32_t query = blockIdx.y;
  const uint32_t lane = threadIdx.x % 32;
  auto& mine = staged[threadIdx.x / 32];
  const uint32_t n = a.range ? a.row_count : least(a.list.count[query], a.list.capacity);
  const uint32_t first = (blockIdx.x * 4 + threadIdx.x / 32) * 32;
  if (first >= n) return;  // whole warps, and no barrier of the block follows
  const size_t base = static_cast<size_t>(query) * a.list.capacity;
  const uint32_t i = first + lane;
  const uint32_t row = i >= n ? 0 : a.range ? a.first_row + i : a.list.row[base + i];
  const size_t of = static_cast<size_t>(a.which != nullptr ? a.which[query] : static_cast<int32_t>(query));
  const float* q = a.queries + of * a.rows.dim;
  double sum = 0.0;
  for (uint32_t d0 = 0; d0 < a.rows.dim; d0 += 32) {
    const uint32_t width = least(uint32_t{32}, a.rows.dim - d0);
    for (uint32_t j = 0; j < 32; ++j) {
      const uint32_t other = lane_get(row, j);
      if (lane < width) mine[j][lane] = a.rows.vectors[static_cast<size_t>(other) * a.rows.stride + d0 + lane];
    }
    warp_barrier();
    for (uint32_t d = 0; d < width; ++d) {
      sum += static_cast<double>(q[d0 + d]) * static_cast<double>(mine[lane][d]);  // the product is exact: fused or not
    }
    warp_barrier();
  }
  if (i >= n) return;
  const float score = static_cast<float>(sum);
  const uint32_t slot = a.range ? a.slot + i : i;
  put(a.list, query, slot, score, score, row);
  if (a.range && i == 0) a.list.count[query] = a.slot + a.row_count;
}

}  // namespace jmlr::cuda
