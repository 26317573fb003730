// float32 and many queries: 128 rows x 64 queries to a block, 8 x 4 sums to a thread, fused multiply-adds. (Tensor
// cores have no float32; with tf32 the bound would be that of a 10-bit mantissa, worse than the bfloat16 storage's per
// byte.)
#pragma once

#include "cuda/nominate.cuh"

namespace jmlr::cuda {

constexpr uint32_t kTileQueries = 64;
constexpr uint32_t kDepth = 16;  // coordinates in shared memory at a time
constexpr uint32_t kPad = 4;     // floats, so that the transposing stores meet fewer equal banks

struct Float32Tile {
  float rows[kDepth][kTileRows + kPad];
  float queries[kDepth][kTileQueries + kPad];
};

// Coordinates d0.. of the block's rows and queries, transposed, into shared memory; zero past the end.
JMLR_DEVICE void fetch(const Scan& a, Float32Tile& tile, uint32_t first_row, uint32_t first_query, uint32_t d0) {
  const uint32_t part = threadIdx.x % 4 * 4;  // 4 threads to a row, 16 bytes each
  for (uint32_t r = threadIdx.x / 4; r < kTileRows + kTileQueries; r += 64) {
    const uint32_t d = d0 + part;
    uint4 v{0, 0, 0, 0};
    if (r < kTileRows) {
      const uint32_t row = first_row + r;
      if (row < a.rows.rows && d < a.rows.stride) {
        v = load(a.rows.vectors + static_cast<size_t>(row) * a.rows.stride + d);
      }
    } else if (first_query + r - kTileRows < a.queries.count) {
      v = load(a.queries.packed + (static_cast<size_t>(first_query + r - kTileRows) * a.queries.units * 32 + d) * 4);
    }
    const uint32_t bits[4] = {v.x, v.y, v.z, v.w};
    for (uint32_t e = 0; e < 4; ++e) {
      if (r < kTileRows) {
        tile.rows[part + e][r] = float_of(bits[e]);
      } else {
        tile.queries[part + e][r - kTileRows] = float_of(bits[e]);
      }
    }
  }
}

JMLR_DEVICE void multiply(const Float32Tile& tile, uint32_t row, uint32_t query, float (&sums)[8][4]) {
#pragma unroll 4
  for (uint32_t d = 0; d < kDepth; ++d) {
    float x[8], y[4];
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) x[i] = tile.rows[d][row + i];
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) y[j] = tile.queries[d][query + j];
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
  }
}

// All coordinates of a tile of rows and one of queries.
JMLR_DEVICE void multiply_tile(const Scan& a, Float32Tile& tile, uint32_t first_row, uint32_t first_query,
                               float (&sums)[8][4]) {
  for (uint32_t d0 = 0; d0 < a.rows.dim; d0 += kDepth) {
    __syncthreads();
    fetch(a, tile, first_row, first_query, d0);
    __syncthreads();
    multiply(tile, threadIdx.x / 16 * 8, threadIdx.x % 16 * 4, sums);
  }
}

JMLR_KERNEL(256, 2) float32_kernel(Scan a) {
  auto& tile = *reinterpret_cast<Float32Tile*>(shared_memory());
  const uint32_t across = divide_up(a.queries.count, kTileQueries);
  const uint64_t work = static_cast<uint64_t>(a.phase.last - a.phase.first) * across;
  const uint32_t row = threadIdx.x / 16 * 8;
  const uint32_t column = threadIdx.x % 16 * 4;
  for (uint64_t w = blockIdx.x; w < work; w += gridDim.x) {
    const uint32_t position = a.phase.first + static_cast<uint32_t>(w / across);
    const uint32_t index = a.order.tile_at(position);
    const uint32_t first_query = static_cast<uint32_t>(w % across) * kTileQueries;
    float sums[8][4] = {};
    multiply_tile(a, tile, index * kTileRows, first_query, sums);
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {
      const uint32_t query = first_query + column + j;
      const float enough = threshold(a, index, query);
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
        if (query < a.queries.count && sums[i][j] >= enough) nominate(a, position, row + i, query, sums[i][j]);
      }
    }
  }
}

}  // namespace jmlr::cuda
