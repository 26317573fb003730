// Exact inner-product top-k. Public C++ interface; knows neither Python nor files.
//
//   Kernels kernels = select_kernels("");
//   search(index, queries, count, k, {threads, kernels, {}}, scores, ids);
//
// The score of (q, x) is their inner product accumulated in float64 in index order and rounded once to float32. The
// result is the k best by (score descending, id ascending), whatever the storage, kernel, batch or number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "copies.h"
#include "encode.h"
#include "isa.h"
#include "parallel.h"
#include "selection.h"

namespace jmlr {

struct IndexView {
  Storage storage;
  size_t rows, dim;
  const float* vectors;   // [rows, dim], the originals that decide
  const uint8_t* codes;   // [rows, code_stride] or null for float32
  const float* scale;     // [rows] for int8
  const float* residual;  // [rows] unless float32
  const float* norm;      // [rows]
  float max_norm;
  const int64_t* ids;        // [rows], distinct, not negative; or null: the row number
  Copies* copies = nullptr;  // found by the first search that meets many ties; null: never

  // What a search scans: codes of rows so small that they may be subnormal would say nothing, so those rows themselves.
  IndexView scanned() const {
    IndexView view = *this;
    if (!lifts(max_norm)) return view;
    view.storage = Storage::float32;
    view.codes = nullptr;
    view.scale = view.residual = nullptr;
    return view;
  }

  // What a scan reads of rows [first, first + count).
  RowBlock block(size_t first, size_t count) const {
    RowBlock taken{nullptr, dim * sizeof(float), count, scale != nullptr ? scale + first : nullptr};
    if (storage == Storage::float32) {
      taken.codes = vectors + first * dim;
    } else {
      taken.stride = code_stride(storage, dim);
      taken.codes = codes + first * taken.stride;
    }
    return taken;
  }
};

struct SearchOptions {
  size_t threads;
  Kernels kernels;
  std::function<bool()> interrupted;  // polled on the caller's thread; may be empty
  Selection selection = {};           // of the rows; none restricts nothing
  bool largest = true;                // else the k of lowest score, lowest first; padding is +inf then
};

struct SearchCounts {
  size_t nominated = 0;  // (query, row) pairs that passed a scan
  size_t rescored = 0;   // of these, pairs scored in float64
  size_t repeated = 0;   // queries searched once more, because their guessed floor was too high
  SearchCounts& operator+=(const SearchCounts& more) {
    nominated += more.nominated;
    rescored += more.rescored;
    repeated += more.repeated;
    return *this;
  }
};

// Writes scores [count, k] and ids [count, k]; where k exceeds the rows that a query may have, id -1 and score -inf.
// Queries [count, dim] must be finite. Throws Interrupted.
SearchCounts search(const IndexView& index, const float* queries, size_t count, size_t k, const SearchOptions& options,
                    float* scores, int64_t* ids);

// Of one query, best first.
struct Matches {
  std::vector<float> scores;
  std::vector<int64_t> ids;
};

// Writes to found [count] every row whose score is at least thresholds[q] (with `largest` false: at most). No threshold
// is NaN. Memory is that of what is found, and 16 bytes more for each of these.
SearchCounts range_search(const IndexView& index, const float* queries, size_t count, const float* thresholds,
                          const SearchOptions& options, Matches* found);

// Largest element, or 0.
inline float max_of(const float* values, size_t count) {
  float largest = 0.0f;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, values[i]);
  return largest;
}

}  // namespace jmlr
