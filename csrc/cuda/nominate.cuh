// From a scan's score to a candidate: the test against the floor, and the append.
#pragma once

#include "cuda/device.cuh"

namespace jmlr::cuda {

JMLR_DEVICE void put(const Candidates& out, uint32_t query, uint32_t slot, float low, float high, uint32_t row) {
  const size_t at = static_cast<size_t>(query) * out.capacity + slot;
  out.low[at] = low;
  out.high[at] = high;
  out.row[at] = row;
}

JMLR_DEVICE void append(const Candidates& out, uint32_t query, float low, float high, uint32_t row) {
  const uint32_t slot = atomicAdd(out.count + query, 1u);
  if (slot < out.capacity) {
    put(out, query, slot, low, high, row);
  } else {
    out.overflow[query] = 1;
  }
}

// Row `r` of the tile visited at `position` scored `score`. In the dense phase every row has a slot of its own, so that
// slots of rows past the end are marked as empty.
JMLR_DEVICE void nominate(const Scan& a, uint32_t position, uint32_t r, uint32_t query, float score) {
  const uint32_t row = a.order.tile_at(position) * kTileRows + r;
  const bool there = row < a.rows.rows;
  const uint32_t slot = position * kTileRows + r;
  if (a.phase.dense && !there) put(a.out, query, slot, -kInfinity, float_of(0x7fc00000u), 0);
  if (!there) return;
  const float error = error_of(a.queries.bound[query], a.rows.residual[row], a.rows.norm[row]);
  if (a.phase.dense) {
    put(a.out, query, slot, score - error, score + error, row);
  } else if (score + error >= a.out.floor[query]) {
    append(a.out, query, score - error, score + error, row);
  }
}

// What a score of tile `tile` must reach for one of `query`'s rows in it to be worth a closer look.
JMLR_DEVICE float threshold(const Scan& a, uint32_t tile, uint32_t query) {
  if (query >= a.queries.count) return kInfinity;
  const float error = error_of(a.queries.bound[query], a.rows.tile_residual[tile], a.rows.tile_norm[tile]);
  return prefilter(a.out.floor[query], error);
}

}  // namespace jmlr::cuda
