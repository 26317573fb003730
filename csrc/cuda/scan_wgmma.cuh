// Hopper: `wgmma` fed by the bulk copy engine. One warp copies tiles, each in one piece since they are stored as shared
// memory wants them; two warpgroups multiply 64 rows each with all columns. Blocks stay and take work in turn.
#pragma once

#include "cuda/hopper.cuh"
#include "cuda/scan_tensor.cuh"

namespace jmlr::cuda {

constexpr uint32_t kConsumers = 256;  // threads that multiply
constexpr uint32_t kWgmmaThreads = kConsumers + 128;
constexpr uint32_t kRowTileBytes = kTileRows * kUnitBytes;

template <uint32_t kColumns>
struct WgmmaShape {
  static constexpr uint32_t kColumnTileBytes = kColumns * kUnitBytes;
  static constexpr uint32_t kStageBytes = kRowTileBytes + kColumnTileBytes;
  static constexpr uint32_t kStages = 196608 / kStageBytes < 10 ? 196608 / kStageBytes : 10;
  // stages, then for each a barrier "full" and one "empty", then two sets of thresholds
  static constexpr uint32_t kBarriers = kStages * kStageBytes;
  static constexpr uint32_t kThresholds = kBarriers + 256;
  static constexpr size_t kShared = kThresholds + 2 * kColumns * sizeof(float);
};

// Where a walk through the ring of stages stands: the stage, and the parity of its barriers' current phase.
struct Ring {
  uint32_t stage = 0, parity = 0;
  JMLR_HD void advance(uint32_t stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// One block's share of (row tile, column tile) pairs; columns vary first, so that neighbours share a row tile in L2.
struct Work {
  uint64_t end;
  uint32_t across;
  JMLR_HD Work(const Scan& a, uint32_t columns)
      : end(static_cast<uint64_t>(a.phase.last - a.phase.first) * (a.queries.padded / columns)),
        across(a.queries.padded / columns) {}
  JMLR_HD uint32_t position(const Scan& a, uint64_t w) const {
    return a.phase.first + static_cast<uint32_t>(w / across);
  }
  JMLR_HD uint32_t column_tile(uint64_t w) const { return static_cast<uint32_t>(w % across); }
};

template <uint32_t kColumns>
JMLR_DEVICE void produce(const Scan& a, uint32_t shared) {
  using Shape = WgmmaShape<kColumns>;
  const Work work(a, kColumns);
  const uint32_t full = shared + Shape::kBarriers;
  const uint32_t empty = full + 8 * Shape::kStages;
  const size_t units = a.queries.units;
  Ring ring;
  for (uint64_t w = blockIdx.x; w < work.end; w += gridDim.x) {
    const uint8_t* rows = a.rows.codes + a.order.tile_at(work.position(a, w)) * units * kRowTileBytes;
    const uint8_t* columns = a.queries.packed + work.column_tile(w) * units * Shape::kColumnTileBytes;
    for (uint32_t unit = 0; unit < units; ++unit) {
      const uint32_t stage = shared + ring.stage * Shape::kStageBytes;
      barrier_wait(empty + 8 * ring.stage, ring.parity ^ 1);  // at first all stages are empty
      barrier_arrive_expecting(full + 8 * ring.stage, Shape::kStageBytes);
      copy_bulk(stage, rows + static_cast<size_t>(unit) * kRowTileBytes, kRowTileBytes, full + 8 * ring.stage);
      copy_bulk(stage + kRowTileBytes, columns + static_cast<size_t>(unit) * Shape::kColumnTileBytes,
                Shape::kColumnTileBytes, full + 8 * ring.stage);
      ring.advance(Shape::kStages);
    }
  }
}

// Multiplies all units of one pair of tiles. A stage is given back once the products that read it are over, one unit
// later, so that the tensor cores always have the next unit's products waiting. `meanwhile` runs under the first ones.
template <uint32_t kColumns, typename Sum, typename Meanwhile>
JMLR_DEVICE void multiply_tiles(const Scan& a, uint32_t shared, Ring& ring, Sum (&sums)[kColumns / 2],
                                const Meanwhile& meanwhile) {
  using Shape = WgmmaShape<kColumns>;
  const uint32_t full = shared + Shape::kBarriers;
  const uint32_t empty = full + 8 * Shape::kStages;
  const bool arrives = threadIdx.x % 32 == 0;  // one lane of each warp
  uint32_t last = 0;
  for (uint32_t unit = 0; unit < a.queries.units; ++unit) {
    const uint32_t stage = shared + ring.stage * Shape::kStageBytes;
    const uint64_t x = tile_descriptor(stage + threadIdx.x / 128 * 64 * kUnitBytes);
    const uint64_t y = tile_descriptor(stage + kRowTileBytes);
    barrier_wait(full + 8 * ring.stage, ring.parity);
    hold(sums);
    wgmma_begin();
#pragma unroll
    for (uint32_t step = 0; step < 4; ++step) {  // 32 bytes along D: 2 in the descriptor's units
      wgmma(sums, x + 2 * step, y + 2 * step, unit + step != 0 ? 1 : 0);
    }
    wgmma_commit();
    if (unit == 0) {
      meanwhile();
    } else {
      wgmma_wait<1>();
      if (arrives) barrier_arrive(empty + 8 * last);
    }
    last = ring.stage;
    ring.advance(Shape::kStages);
  }
  wgmma_wait<0>();
  hold(sums);
  if (arrives) barrier_arrive(empty + 8 * last);
}

template <typename Code, uint32_t kColumns>
JMLR_DEVICE void consume(const Scan& a, uint32_t shared, uint8_t* memory) {
  using Shape = WgmmaShape<kColumns>;
  constexpr uint32_t kQueries = kColumns / Code::kColumns;
  const Work work(a, kColumns);
  const uint32_t row0 = threadIdx.x / 128 * 64;
  auto* thresholds = reinterpret_cast<float*>(memory + Shape::kThresholds);
  Ring ring;
  uint32_t turn = 0;
  for (uint64_t w = blockIdx.x; w < work.end; w += gridDim.x, turn ^= 1) {
    const uint32_t tile = a.order.tile_at(work.position(a, w));
    const uint32_t first_query = work.column_tile(w) * kQueries;
    float* mine = thresholds + turn * kColumns;
    typename Code::Sum sums[kColumns / 2] = {};
    multiply_tiles<kColumns>(a, shared, ring, sums,
                             [&] { fill_thresholds(a, tile, first_query, kQueries, threadIdx.x, kConsumers, mine); });
    barrier_of(1, kConsumers);  // thresholds are there; the other set has been read by all
    const Epilogue<Code> epilogue{a, work.position(a, w), tile, first_query, mine};
#pragma unroll
    for (uint32_t half = 0; half < 4; half += 2) {
      const uint32_t r = row0 + fragment_row(threadIdx.x % 128, half);
      const float scale = epilogue.row_scale(r);
#pragma unroll
      for (uint32_t i = 0; i < kColumns / 2; i += 4) {
        epilogue.test(sums + i + half, r, fragment_column(threadIdx.x % 128, i), scale);
      }
    }
  }
}

template <typename Code, uint32_t kColumns>
JMLR_KERNEL(kWgmmaThreads, 1)
wgmma_kernel(__grid_constant__ const Scan a) {
  using Shape = WgmmaShape<kColumns>;
  uint8_t* memory = shared_memory();
  const uint32_t shared = shared_address(memory);
  if (threadIdx.x == 0) {
    for (uint32_t s = 0; s < Shape::kStages; ++s) {
      barrier_init(shared + Shape::kBarriers + 8 * s, 1);
      barrier_init(shared + Shape::kBarriers + 8 * (Shape::kStages + s), kConsumers / 32);
    }
    barrier_init_done();
  }
  __syncthreads();
  if (threadIdx.x >= kConsumers) {
    give_registers<40>();
    if (threadIdx.x == kConsumers) produce<kColumns>(a, shared);
  } else {
    take_registers<232>();
    consume<Code, kColumns>(a, shared, memory);
  }
}

}  // namespace jmlr::cuda
