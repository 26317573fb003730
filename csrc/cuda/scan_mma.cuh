// Tensor cores from Ampere on: `mma.sync` fed by `cp.async` and `ldmatrix`. A block of 8 warps (4 x 2) multiplies 128
// rows with 128 columns, each warp 32 x 64; three stages of one 128-byte unit are in flight.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/scan_tensor.cuh"

namespace jmlr::cuda {

constexpr uint32_t kMmaColumns = 128;
constexpr uint32_t kMmaStages = 3;
constexpr uint32_t kMmaTileBytes = 128 * kUnitBytes;  // of rows, and of columns
constexpr size_t kMmaShared = kMmaStages * 2 * kMmaTileBytes + kMmaColumns * sizeof(float);

// Starts copying unit `unit` of both tiles into stage `unit` % kMmaStages. Always commits, so that groups can be
// counted.
JMLR_DEVICE void start_unit(uint32_t shared, const uint8_t* rows, const uint8_t* columns, uint32_t unit,
                            uint32_t units) {
  if (unit < units) {
    const uint32_t stage = shared + unit % kMmaStages * 2 * kMmaTileBytes;
    for (uint32_t b = threadIdx.x * kChunkBytes; b < kMmaTileBytes; b += 256 * kChunkBytes) {
      copy_async(stage + b, rows + static_cast<size_t>(unit) * kMmaTileBytes + b);
      copy_async(stage + kMmaTileBytes + b, columns + static_cast<size_t>(unit) * kMmaTileBytes + b);
    }
  }
  commit_copies();
}

// One unit: 4 steps of 32 bytes (16 bfloat16 or 32 int8) along D.
template <typename Code>
JMLR_DEVICE void multiply_unit(uint32_t stage, uint32_t row0, uint32_t column0, typename Code::Sum (&sums)[2][8][4]) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t step = 0; step < 4; ++step) {
    uint32_t x[2][4];
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      load_matrices(x[i], stage + swizzled(row0 + 16 * i + lane % 16, step * 32 + lane / 16 * kChunkBytes));
    }
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {  // 16 columns at a time
      uint32_t y[4];
      load_matrices(y,
                    stage + kMmaTileBytes +
                        swizzled(column0 + 16 * j + lane % 8 + lane / 16 * 8, step * 32 + lane / 8 % 2 * kChunkBytes));
#pragma unroll
      for (uint32_t i = 0; i < 2; ++i) {
        mma(sums[i][2 * j], x[i], y[0], y[1]);
        mma(sums[i][2 * j + 1], x[i], y[2], y[3]);
      }
    }
  }
}

// All units of a tile of rows and one of columns. Before it a barrier, so that the stages are free.
template <typename Code>
JMLR_DEVICE void multiply_tile(uint32_t shared, const uint8_t* rows, const uint8_t* columns, uint32_t units,
                               uint32_t row0, uint32_t column0, typename Code::Sum (&sums)[2][8][4]) {
  for (uint32_t unit = 0; unit + 1 < kMmaStages; ++unit) start_unit(shared, rows, columns, unit, units);
  for (uint32_t unit = 0; unit < units; ++unit) {
    wait_for_copies<kMmaStages - 2>();  // this unit's have landed, mine
    __syncthreads();                    // everybody's have, and the stage before this one has been read
    start_unit(shared, rows, columns, unit + kMmaStages - 1, units);
    multiply_unit<Code>(shared + unit % kMmaStages * 2 * kMmaTileBytes, row0, column0, sums);
  }
}

template <typename Code>
JMLR_DEVICE void test_sums(const Epilogue<Code>& epilogue, uint32_t row0, uint32_t column0,
                           const typename Code::Sum (&sums)[2][8][4]) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
    for (uint32_t half = 0; half < 4; half += 2) {
      const uint32_t r = row0 + 16 * i + fragment_row(lane, half);
      const float scale = epilogue.row_scale(r);
#pragma unroll
      for (uint32_t j = 0; j < 8; ++j) {
        epilogue.test(sums[i][j] + half, r, column0 + 8 * j + fragment_column(lane, 0), scale);
      }
    }
  }
}

template <typename Code>
JMLR_KERNEL(256, 1)
mma_kernel(Scan a) {
  const uint32_t shared = shared_address(shared_memory());
  auto* thresholds = reinterpret_cast<float*>(shared_memory() + kMmaStages * 2 * kMmaTileBytes);
  constexpr uint32_t kQueries = kMmaColumns / Code::kColumns;
  const uint32_t units = a.queries.units;
  const uint32_t across = a.queries.padded / kMmaColumns;
  const uint64_t work = static_cast<uint64_t>(a.phase.last - a.phase.first) * across;
  const uint32_t row0 = threadIdx.x / 32 % 4 * 32;
  const uint32_t column0 = threadIdx.x / 128 * 64;
  for (uint64_t w = blockIdx.x; w < work; w += gridDim.x) {
    const uint32_t position = a.phase.first + static_cast<uint32_t>(w / across);
    const uint32_t tile = a.order.tile_at(position);
    const auto column_tile = static_cast<uint32_t>(w % across);
    const uint8_t* rows = a.rows.codes + static_cast<size_t>(tile) * units * kMmaTileBytes;
    const uint8_t* columns = a.queries.packed + static_cast<size_t>(column_tile) * units * kMmaTileBytes;
    typename Code::Sum sums[2][8][4] = {};
    __syncthreads();  // the last piece of work has been read
    fill_thresholds(a, tile, column_tile * kQueries, kQueries, threadIdx.x, 256, thresholds);
    multiply_tile<Code>(shared, rows, columns, units, row0, column0, sums);
    test_sums<Code>({a, position, tile, column_tile * kQueries, thresholds}, row0, column0, sums);
  }
  wait_for_copies<0>();
}

}  // namespace jmlr::cuda
