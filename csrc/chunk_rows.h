// What the filter of a scan is told of a chunk's rows.
#pragma once

#include <algorithm>
#include <cstddef>

#include "candidates.h"
#include "topk.h"

namespace jmlr {

constexpr size_t kChunkRows = 768;  // claimed at a time

struct ChunkRows {
  size_t begin = 0;                 // number of the first
  float residual[kChunkRows] = {};  // upper ends of both
  float norm[kChunkRows] = {};      // -inf for a row that must not be let in

  // Rows [first, first + count); `lift` is null where rows need not be lifted.
  void describe(const IndexView& index, const Selection& selection, LiftFn lift, size_t first, size_t count) {
    begin = first;
    if (lift != nullptr) {
      lift(index.norm + first, count, norm);
    } else {
      std::copy_n(index.norm + first, count, norm);
    }
    // A larger bound is a bound, and what is as good as nothing would become subnormal in the filter, which is slow.
    const float least = std::min(index.max_norm * (lift != nullptr ? kLift : 1.0f), 1.0f) * 0x1p-60f;
    for (size_t r = 0; r < count; ++r) norm[r] = std::max(norm[r], least);
    if (index.residual != nullptr) {
      for (size_t r = 0; r < count; ++r) residual[r] = std::max(index.residual[first + r], least);
    }
    for (size_t r = 0; selection.shared != nullptr && r < count; ++r) {
      if (selection.bars(first + r, first + r + 1)) norm[r] = kNoFloor;
    }
    const Copies* const copies = known_copies(index.copies);
    if (copies == nullptr || !copies->any(first, count)) return;
    for (size_t r = 0; r < count; ++r) {
      if (copies->is_copy(first + r)) norm[r] = kNoFloor;
    }
  }
};

}  // namespace jmlr
