// MaxSim's score by the contract: every product of a token with a row added in float64 in index order, the largest of
// them added in the order of the query's tokens, the sum rounded once to float32.
#pragma once

#include "cuda/nominate.cuh"
#include "cuda/passages.h"
#include "cuda/warp.cuh"

namespace jmlr::cuda {

constexpr uint32_t kExactTokens = 8;  // of a warp at a time
constexpr uint32_t kExactRound = 4 * kExactTokens;

struct ExactPassages {
  Rows rows;
  const Range* passages;
  const float* tokens;   // [slots, dim]
  const Range* slots;    // [queries]
  const int32_t* which;  // the query that list number j is for; null: j
  Candidates list;
  bool range;  // false: the candidates; true: passages first.. into the slots of the list from `slot`
  uint32_t first, count, slot;
};

// The largest products of `held` tokens (kExactTokens at most) from q on with rows [begin, end), by one warp: a lane
// adds for a row; the lanes stage each other's rows, 32 coordinates at a time, so that memory is read in whole lines.
JMLR_DEVICE void largest_products(const Rows& rows, Range passage, const float* q, uint32_t held,
                                  float (&staged)[32][33], double (&largest)[kExactTokens]) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t i = 0; i < kExactTokens; ++i) largest[i] = -static_cast<double>(kInfinity);
  for (uint32_t row = passage.begin; row < passage.end; row += 32) {
    const uint32_t there = least(uint32_t{32}, passage.end - row);
    double sums[kExactTokens] = {};
    for (uint32_t d0 = 0; d0 < rows.dim; d0 += 32) {
      const uint32_t width = least(uint32_t{32}, rows.dim - d0);
      for (uint32_t j = 0; j < there; ++j) {
        if (lane < width) staged[j][lane] = rows.vectors[static_cast<size_t>(row + j) * rows.stride + d0 + lane];
      }
      warp_barrier();
      for (uint32_t d = 0; lane < there && d < width; ++d) {
        const auto x = static_cast<double>(staged[lane][d]);
#pragma unroll
        for (uint32_t i = 0; i < kExactTokens; ++i) {  // past the last token: the last once more, not used
          const float value = q[static_cast<size_t>(least(i, held - 1)) * rows.dim + d0 + d];
          sums[i] += static_cast<double>(value) * x;  // the product is exact: fused or not
        }
      }
      warp_barrier();
    }
#pragma unroll
    for (uint32_t i = 0; i < kExactTokens; ++i) {
      if (lane < there) largest[i] = most(largest[i], sums[i]);
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < kExactTokens; ++i) largest[i] = warp_max(largest[i]);
}

// A block for a candidate, and then for the next one. Grid: (as many as are worth it, query).
JMLR_KERNEL(128, 4) exact_passages_kernel(ExactPassages a) {
  __shared__ float staged[4][32][33];
  __shared__ double peaks[kExactRound];
  const uint32_t query = blockIdx.y;
  const uint32_t mine = threadIdx.x / 32 * kExactTokens;  // this warp's tokens of a round
  const uint32_t n = a.range ? a.count : least(a.list.count[query], a.list.capacity);
  const Range slots = a.slots[a.which != nullptr ? static_cast<uint32_t>(a.which[query]) : query];
  for (uint32_t i = blockIdx.x; i < n; i += gridDim.x) {
    const size_t at = static_cast<size_t>(query) * a.list.capacity + i;
    const uint32_t passage = a.range ? a.first + i : a.list.row[at];
    double sum = 0.0;  // the same in all threads
    for (uint32_t token = slots.begin; token < slots.end; token += kExactRound) {
      const uint32_t round = least(kExactRound, slots.end - token);
      if (mine < round) {
        const float* q = a.tokens + static_cast<size_t>(token + mine) * a.rows.dim;
        double largest[kExactTokens];
        largest_products(a.rows, a.passages[passage], q, least(kExactTokens, round - mine), staged[threadIdx.x / 32],
                         largest);
#pragma unroll
        for (uint32_t j = 0; j < kExactTokens; ++j) {
          if (threadIdx.x % 32 == j) peaks[mine + j] = largest[j];
        }
      }
      __syncthreads();
      for (uint32_t j = 0; j < round; ++j) sum += peaks[j];
      __syncthreads();
    }
    if (threadIdx.x != 0) continue;
    const auto score = static_cast<float>(sum);
    put(a.list, query, a.range ? a.slot + i : i, score, score, passage);
  }
  if (a.range && blockIdx.x == 0 && threadIdx.x == 0) a.list.count[query] = a.slot + a.count;
}

}  // namespace jmlr::cuda
