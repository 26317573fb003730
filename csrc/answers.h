// What a search wants, and how a query's answer is written down.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "candidates.h"
#include "reaching.h"
#include "topk.h"

namespace jmlr {

// The k best rows, or, with thresholds, all that reach them. The lowest scores are the highest of negated queries.
struct Wanted {
  size_t k;
  const float* thresholds;  // by query, or null
  bool negated;             // the queries were: scores are turned back
};

// Without copies where all rows are wanted, or an original may be left out and its copy not.
inline IndexView view_for(IndexView index, const Wanted& wanted, const Selection& selection) {
  if (wanted.thresholds != nullptr || selection.restricts()) index.copies = nullptr;
  return index;
}

// How a query is answered.
enum class Way : char {
  scan,
  exact,  // scored against every row
  few,    // scored against the few rows that it may have
  zero,   // it is zero, and so are all its scores
  none    // it has its answer
};

// A score of a query that was negated turned into the query's own. All sums change their sign but one of exactly 0,
// which is +0 both times; so is what a tiny sum above it rounds to, whose counterpart rounds to -0.
inline float turned(float score, const float* negated, const float* row, size_t dim) {
  if (score != 0.0f || std::signbit(score)) return -score;
  double sum = 0.0;
  for (size_t d = 0; d < dim; ++d) sum += static_cast<double>(negated[d]) * static_cast<double>(row[d]);
  return sum > 0.0 ? -0.0f : 0.0f;
}

// All that reaches the threshold of query q, in order, from what the threads have of it.
template <class Worker, class Score>
std::vector<Candidate> all_reaching(std::vector<Worker>& workers, size_t q, float threshold, const BetterExact& better,
                                    const Score& score) {
  std::vector<Candidate> all;
  for (Worker& worker : workers) {
    if (worker.reaching.empty()) continue;  // a thread that never came to life
    Reaching held = std::move(worker.reaching[q]);
    held.confirm(threshold, score);
    all.insert(all.end(), held.items().begin(), held.items().end());
  }
  std::sort(all.begin(), all.end(), better);
  return all;
}

}  // namespace jmlr
