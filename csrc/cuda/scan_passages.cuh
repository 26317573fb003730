// The scan of MaxSim: a block multiplies a chunk's tiles of rows with a group's tiles of columns, one after the other.
// The scores of a tile pass through shared memory; there a thread for each column takes maxima down the rows of a
// passage, and where a passage ends, eight lanes add a query's maxima in float64. Nothing but candidates goes to
// memory.
#pragma once

#include "cuda/passages.h"
#include "cuda/scan_float32.cuh"
#include "cuda/scan_mma.cuh"

namespace jmlr::cuda {

constexpr uint32_t kScorePad = 8;  // floats: rows of a warp's fragment fall into different banks
constexpr uint32_t kSumLanes = 8;

// `kWidth` columns of scores for the rows of a tile, and what a passage of the chunk has from earlier tiles of columns.
template <uint32_t kWidth>
struct PassageTile {
  float scores[kTileRows][kWidth + kScorePad];
};
struct Partial {
  double sums[kChunkPassages];  // by passage of the chunk; only for a query of several tiles
};

JMLR_DEVICE void nominate_passage(const PassageScan& a, uint32_t passage, uint32_t query, double sum) {
  const float floor = a.scan.out.floor[query];
  const double error = a.bound[query].error(a.passages.residual[passage], a.passages.norm[passage]);
  const auto high = static_cast<float>(sum + error);  // monotonic, as the contract's rounding is
  if (floor != kInfinity && high >= floor) append(a.scan.out, query, static_cast<float>(sum - error), high, passage);
}

// One block's walk through a chunk, against one tile of columns of a group.
template <uint32_t kWidth>
struct PassageWalk {
  const PassageScan& a;
  Group group;
  uint32_t column_tile;  // of the group
  uint32_t first, end;   // passages of the chunk
  uint32_t open;         // the first whose end has not come
  float peak;            // this thread's column, over the rows so far of passage `open`

  JMLR_DEVICE PassageWalk(const PassageScan& scan, const Group& of, uint32_t tile, uint32_t chunk)
      : a(scan),
        group(of),
        column_tile(tile),
        first(scan.passages.chunk[chunk]),
        end(scan.passages.chunk[chunk + 1]),
        open(first),
        peak(-kInfinity) {}

  // First passage from `open` on that ends past `row`: by halving, since one tile may see 128 end.
  JMLR_DEVICE uint32_t still_open(uint32_t row) const {
    uint32_t low = open;
    uint32_t high = least(open + kTileRows, end);
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (a.passages.rows[middle].end <= row) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  // The scores of rows [row0, row0 + kTileRows) are there, and a barrier has passed. Ends with a barrier.
  JMLR_DEVICE void take(PassageTile<kWidth>& tile, Partial& partial, uint32_t row0) {
    const uint32_t next = still_open(row0 + kTileRows);
    if (threadIdx.x < kWidth) {
      uint32_t r = 0;
      for (uint32_t p = open; p < next; ++p) {
        const uint32_t stop = a.passages.rows[p].end - row0;
        raise_to(tile, r, stop);
        tile.scores[stop - 1][threadIdx.x] = peak;  // what the adding lanes will read
        peak = -kInfinity;
        r = stop;
      }
      if (next < end) raise_to(tile, r, kTileRows);
    }
    __syncthreads();
    add_up(tile, partial, row0, next);
    open = next;
    __syncthreads();
  }

  JMLR_DEVICE void raise_to(const PassageTile<kWidth>& tile, uint32_t from, uint32_t to) {
#pragma unroll 8
    for (uint32_t r = from; r < to; ++r) peak = most(peak, tile.scores[r][threadIdx.x]);
  }

  // For passages [open, next), which end in this tile, the sums of the maxima over each query's columns.
  JMLR_DEVICE void add_up(const PassageTile<kWidth>& tile, Partial& partial, uint32_t row0, uint32_t next) {
    const uint32_t pairs = (next - open) * group.queries;
    const uint32_t slot0 = (group.first_tile + column_tile) * kWidth;
    const uint32_t part = threadIdx.x % kSumLanes;
    for (uint32_t base = 0; base < pairs; base += blockDim.x / kSumLanes) {  // the whole block
      const uint32_t pair = base + threadIdx.x / kSumLanes;
      const bool there = pair < pairs;
      const uint32_t passage = open + (there ? pair / group.queries : 0);
      const uint32_t query = group.first_query + (there ? pair % group.queries : 0);
      const Range slots = a.slots[query];
      const float* peaks = tile.scores[a.passages.rows[passage].end - 1 - row0];
      const uint32_t upto = least(slots.end, slot0 + kWidth);
      double sum = 0.0;
      for (uint32_t t = most(slots.begin, slot0) + part; there && t < upto; t += kSumLanes) {
        sum += static_cast<double>(peaks[t - slot0]);
      }
      for (uint32_t mask = kSumLanes / 2; mask != 0; mask /= 2) sum += lane_xor(sum, mask);
      if (!there || part != 0) continue;
      if (column_tile != 0) sum += partial.sums[passage - first];
      if (column_tile + 1 < group.tiles) {
        partial.sums[passage - first] = sum;
      } else {
        nominate_passage(a, passage, query, sum);
      }
    }
  }
};

// Calls tile(walk, row tile, column tile) for everything that is this block's to do.
template <uint32_t kWidth, typename Tile>
JMLR_DEVICE void walk_chunks(const PassageScan& a, const Tile& tile) {
  const uint64_t work = static_cast<uint64_t>(a.scan.phase.last - a.scan.phase.first) * a.group_count;
  for (uint64_t w = blockIdx.x; w < work; w += gridDim.x) {
    const uint32_t chunk = a.scan.order.tile_at(a.scan.phase.first + static_cast<uint32_t>(w / a.group_count));
    const Group group = a.groups[w % a.group_count];
    const uint32_t first_row = a.passages.rows[a.passages.chunk[chunk]].begin;
    const uint32_t last_row = a.passages.rows[a.passages.chunk[chunk + 1] - 1].end;
    for (uint32_t column_tile = 0; column_tile < group.tiles; ++column_tile) {
      PassageWalk<kWidth> walk(a, group, column_tile, chunk);
      for (uint32_t row0 = first_row; row0 < last_row; row0 += kTileRows) {
        tile(walk, row0 / kTileRows, group.first_tile + column_tile);
      }
    }
  }
}

constexpr size_t kMmaPassageShared = kMmaStages * 2 * kMmaTileBytes + sizeof(Partial);
static_assert(sizeof(PassageTile<kMmaColumns>) <= kMmaStages * 2 * kMmaTileBytes,
              "scores take the place of the stages");
static_assert(kMmaPassageShared <= 99 * 1024, "what the smallest of the architectures has for a block");

// `s`: two neighbouring columns of row r, as scores into the tile.
template <typename Code, uint32_t kWidth>
JMLR_DEVICE void store_scores(const PassageScan& a, PassageTile<kWidth>& tile, const typename Code::Sum* s, uint32_t r,
                              uint32_t column, float scale, uint32_t slot0) {
#pragma unroll
  for (uint32_t j = 0; j < 2 / Code::kColumns; ++j) {
    const uint32_t at = column / Code::kColumns + j;
    const float* by_digit = Code::kColumns == 2 ? a.scan.queries.scale + 2 * (slot0 + at) : nullptr;
    tile.scores[r][at] = Code::score(s, j, scale, by_digit);
  }
}

template <typename Code>
JMLR_KERNEL(256, 1)
mma_passages_kernel(PassageScan a) {
  constexpr uint32_t kWidth = kMmaColumns / Code::kColumns;
  const uint32_t shared = shared_address(shared_memory());
  auto& scores = *reinterpret_cast<PassageTile<kWidth>*>(shared_memory());  // once the stages have been read
  auto& partial = *reinterpret_cast<Partial*>(shared_memory() + kMmaStages * 2 * kMmaTileBytes);
  const uint32_t units = a.scan.queries.units;
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t row0 = threadIdx.x / 32 % 4 * 32;
  const uint32_t column0 = threadIdx.x / 128 * 64;
  walk_chunks<kWidth>(a, [&](PassageWalk<kWidth>& walk, uint32_t row_tile, uint32_t column_tile) {
    typename Code::Sum sums[2][8][4] = {};
    multiply_tile<Code>(shared, a.scan.rows.codes + static_cast<size_t>(row_tile) * units * kMmaTileBytes,
                        a.scan.queries.packed + static_cast<size_t>(column_tile) * units * kMmaTileBytes, units, row0,
                        column0, sums);
    __syncthreads();  // the last stage has been read
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
      for (uint32_t half = 0; half < 4; half += 2) {
        const uint32_t r = row0 + 16 * i + fragment_row(lane, half);
        const float scale = Code::kColumns == 2 ? a.scan.rows.scale[row_tile * kTileRows + r] : 0.0f;
#pragma unroll
        for (uint32_t j = 0; j < 8; ++j) {
          store_scores<Code>(a, scores, sums[i][j] + half, r, column0 + 8 * j + fragment_column(lane, 0), scale,
                             column_tile * kWidth);
        }
      }
    }
    __syncthreads();
    walk.take(scores, partial, row_tile * kTileRows);
  });
  wait_for_copies<0>();
}

struct Float32Passages {
  Float32Tile tile;
  PassageTile<kTileQueries> scores;
  Partial partial;
};

JMLR_KERNEL(256, 2) float32_passages_kernel(PassageScan a) {
  auto& shared = *reinterpret_cast<Float32Passages*>(shared_memory());
  const uint32_t row = threadIdx.x / 16 * 8;
  const uint32_t column = threadIdx.x % 16 * 4;
  walk_chunks<kTileQueries>(a, [&](PassageWalk<kTileQueries>& walk, uint32_t row_tile, uint32_t column_tile) {
    float sums[8][4] = {};
    multiply_tile(a.scan, shared.tile, row_tile * kTileRows, column_tile * kTileQueries, sums);
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j) shared.scores.scores[row + i][column + j] = sums[i][j];
    }
    __syncthreads();
    walk.take(shared.scores, shared.partial, row_tile * kTileRows);
  });
}

}  // namespace jmlr::cuda
