// What both tensor-core scans share: the two kinds of codes, and from sums in registers to candidates.
#pragma once

#include "cuda/nominate.cuh"

namespace jmlr::cuda {

// A column of sums for each query. Two neighbours lie in one thread: s[0], s[1].
struct TensorBfloat16 {
  using Sum = float;
  static constexpr uint32_t kColumns = 1;  // for each query
  JMLR_DEVICE static float score(const Sum* s, uint32_t j, float, const float*) { return s[j]; }
};

// Two columns for each query, one for each digit of its codes.
struct TensorInt8 {
  using Sum = int32_t;
  static constexpr uint32_t kColumns = 2;
  JMLR_DEVICE static float score(const Sum* s, uint32_t, float scale, const float* by_digit) {
    return static_cast<float>(s[0]) * scale * by_digit[0] + static_cast<float>(s[1]) * scale * by_digit[1];
  }
};

// One tile of rows against one tile of queries.
template <typename Code>
struct Epilogue {
  const Scan& a;
  uint32_t position, tile, first_query;
  const float* thresholds;  // shared memory, for each query of the tile

  JMLR_DEVICE float row_scale(uint32_t r) const {
    return Code::kColumns == 2 ? a.rows.scale[tile * kTileRows + r] : 0.0f;
  }
  // Sums of row r (scale `scale`) in columns `column` and the next.
  JMLR_DEVICE void test(const typename Code::Sum* s, uint32_t r, uint32_t column, float scale) const {
#pragma unroll
    for (uint32_t j = 0; j < 2 / Code::kColumns; ++j) {
      const uint32_t in_tile = column / Code::kColumns + j;
      const uint32_t query = first_query + in_tile;
      const float* by_digit = Code::kColumns == 2 ? a.queries.scale + 2 * query : nullptr;
      const float enough = thresholds[in_tile];
      if (enough == kInfinity) continue;  // no such query, or one that is not scanned
      const float score = Code::score(s, j, scale, by_digit);
      if (score >= enough) nominate(a, position, r, query, score);
    }
  }
};

// The thresholds of the tile's queries, by as many threads as the block can spare.
JMLR_DEVICE void fill_thresholds(const Scan& a, uint32_t tile, uint32_t first_query, uint32_t count, uint32_t thread,
                                 uint32_t threads, float* out) {
  for (uint32_t i = thread; i < count; i += threads) out[i] = threshold(a, tile, first_query + i);
}

}  // namespace jmlr::cuda
