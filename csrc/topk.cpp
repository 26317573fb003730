#include "topk.h"

#include <algorithm>
#include <vector>

#include "block_search.h"
#include "floating_point.h"

namespace jmlr {
namespace {

constexpr size_t kQueriesAtOnce = 512;  // at most: see queries_at_once

// The values, or, where the lowest scores are wanted, the same negated, in `room`.
const float* turned(const float* values, size_t count, bool largest, std::vector<float>& room) {
  if (largest) return values;
  room.resize(count);
  std::transform(values, values + count, room.begin(), [](float value) { return -value; });
  return room.data();
}

// Calls search(block, team, first) for blocks of at most `at_once` queries.
template <class Search>
void by_block(const IndexView& index, const float* queries, size_t count, size_t at_once, Wanted wanted,
              const SearchOptions& options, size_t threads, const Search& search) {
  std::vector<float> room, reach;
  const float* const thresholds = wanted.thresholds;
  for (size_t first = 0; first < count; first += at_once) {
    const size_t held = std::min(at_once, count - first);
    Team team(threads, options.interrupted);
    SearchOptions here = options;
    here.selection = options.selection.from(first);
    if (thresholds != nullptr) wanted.thresholds = turned(thresholds + first, held, options.largest, reach);
    const float* part = turned(queries + first * index.dim, held * index.dim, options.largest, room);
    BlockSearch block(index, part, held, wanted, here, team);
    search(block, team, first);
  }
}

size_t threads_for(const IndexView& index, const SearchOptions& options, size_t count) {
  const size_t work = index.rows / kChunkRows + 1;
  return std::clamp(options.threads, size_t{1}, std::max(work, std::min(kQueriesAtOnce, count)));
}

}  // namespace

SearchCounts search(const IndexView& index, const float* queries, size_t count, size_t k, const SearchOptions& options,
                    float* scores, int64_t* ids) {
  const DefaultFloatingPoint environment;
  SearchCounts counts;
  if (k == 0) return counts;
  const size_t threads = threads_for(index, options, count);
  const size_t at_once = queries_at_once(kQueriesAtOnce, k, index.rows, threads);
  by_block(index, queries, count, at_once, {k, nullptr, !options.largest}, options, threads,
           [&](BlockSearch& block, Team& team, size_t first) {
             counts += block.run(team, true, scores + first * k, ids + first * k);
             counts.repeated += block.repeat(team, counts, scores + first * k, ids + first * k);
           });
  return counts;
}

SearchCounts range_search(const IndexView& index, const float* queries, size_t count, const float* thresholds,
                          const SearchOptions& options, Matches* found) {
  const DefaultFloatingPoint environment;
  SearchCounts counts;
  by_block(index, queries, count, kQueriesAtOnce, {1, thresholds, !options.largest}, options,
           threads_for(index, options, count),
           [&](BlockSearch& block, Team& team, size_t first) { counts += block.run(team, found + first); });
  return counts;
}

}  // namespace jmlr
