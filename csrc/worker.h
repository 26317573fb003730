// All that one thread needs for a block of queries.
#pragma once

#include <cstddef>
#include <vector>

#include "aligned.h"
#include "candidates.h"
#include "chunk_rows.h"
#include "encode.h"
#include "nominees.h"
#include "reaching.h"
#include "topk.h"

namespace jmlr {

struct Worker {
  std::vector<CandidateList> lists;  // by query
  std::vector<Reaching> reaching;    // by query, of a range search
  AlignedBuffer<float> floor;        // [panels, panel width]: what the upper end of a row's score must reach
  AlignedBuffer<float> scores;       // [tile rows, panel width]
  AlignedBuffer<float> lifted;       // [tile rows, dim], of rows that a scan would take for zero
  std::vector<Hit> hits;             // of a tile
  ChunkRows rows;
  Nominees nominees;
  SearchCounts counts;

  // `lifted_dim` is 0 where rows need not be lifted.
  Worker(const QueryBlock& block, size_t k, bool by_range, size_t tile_rows, size_t lanes, size_t lifted_dim)
      : lists(block.count()),
        reaching(by_range ? block.count() : 0),
        floor(block.panels().size() * 2 * lanes),
        scores(tile_rows * 2 * lanes),
        lifted(tile_rows * lifted_dim),
        hits(tile_rows * 2 * lanes) {
    for (CandidateList& list : lists) list.reset(k);
  }
};

}  // namespace jmlr
