// Exact MaxSim top-k for late-interaction retrievers (ColBERT). Public C++ interface; knows neither Python nor files.
//
// The score of (query, passage) is the sum over the query's tokens, in order, from 0, in float64, of the largest inner
// product with a token of the passage (each accumulated in float64 in index order), rounded once to float32. The result
// is the k best by (score descending, id ascending), whatever the storage, kernel, batch or number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "topk.h"

namespace jmlr {

struct MaxSimView {
  Storage storage;
  size_t passages, dim;
  const int64_t* offsets;  // [passages + 1], from 0: passage p has rows offsets[p] to offsets[p + 1] - 1, one at least
  const float* vectors;    // [rows, dim], what decides; or null, of int8: the codes' values, as `originals` has them
  const uint8_t* codes;    // [rows, code_stride] or null for float32
  const float* scale;      // [rows] for int8
  const float* residual;   // [passages] unless float32: the largest of the passage's rows
  const float* norm;       // [passages]: the largest of the passage's rows
  const int64_t* ids;      // [passages], distinct, not negative; or null: the passage's number
  Copies* copies = nullptr;  // of passages: as in IndexView
};

// Writes scores [count, k] and ids [count, k]; where k exceeds the passages that a query may have, id -1 and score
// -inf. Query q has the rows starts[q] to starts[q + 1] - 1 of `tokens` [starts[count], dim]: finite, one at least,
// kMaxTokens at most.
SearchCounts maxsim_search(const MaxSimView& index, const float* tokens, const int64_t* starts, size_t count, size_t k,
                           const SearchOptions& options, float* scores, int64_t* ids);

constexpr size_t kMaxTokens = 65536;  // of a query: far beyond this the bound of the sum (docs/topk.md) would not hold

}  // namespace jmlr
