// The host's side of candidate lists, shared by both searches: rows there, passages in MaxSim.
#pragma once

#include "cuda/device.cuh"
#include "cuda/search.h"

namespace jmlr::cuda {

Candidates carve_list(Arena& arena, Storage storage, uint64_t batch, uint32_t k);
void prepare_queries(const PrepareQueries& prepare, cudaStream_t stream);
void tighten(const Candidates& list, uint32_t count, cudaStream_t stream);
void keep_best(const Candidates& list, const Ids& ids, uint32_t count, cudaStream_t stream);
void finish(const Candidates& list, const Ids& ids, uint32_t count, const int32_t* which, float* scores,
            int64_t* out_ids, cudaStream_t stream);

// The slow path: every item, a list's length at a time. `score(first, taken, kept)` puts items first.. into the slots
// from `kept` of every list, and sets the counts.
template <typename Score>
void best_of_all(const Candidates& list, const Ids& ids, uint32_t count, uint32_t items, cudaStream_t stream,
                 const Score& score) {
  fill_bytes(list.count, 0, count * sizeof(uint32_t), stream);
  for (uint32_t item = 0, kept = 0; item < items; kept = least(list.k, item)) {
    const uint32_t taken = least(items - item, list.capacity - kept);
    score(item, taken, kept);
    keep_best(list, ids, count, stream);
    item += taken;
  }
}

}  // namespace jmlr::cuda
