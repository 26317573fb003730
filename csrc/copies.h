// Rows, or passages of some rows, that are copies of another, bit by bit: empty texts, boilerplate, a model that
// answers everything alike.
//
// All copies of a row score the same, so each that may enter would be scored exactly, only to tie. A search that meets
// crowds of ties looks for copies once for the index, from then on takes originals alone, and puts their copies behind
// them in the end.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace jmlr {

class Copies {
 public:
  using RowAt = std::function<std::span<const float>(size_t row)>;
  // Of `rows` rows with their norms; the original is the one with the lowest id (null: row number). Does it once.
  // Others do not wait for it: they go without, as does a child forked meanwhile. Reads one cache line of every row and
  // all of those that may be copies.
  void find(const RowAt& row_at, const float* norm, const int64_t* ids, size_t rows);

  bool known() const { return known_.load(std::memory_order_acquire); }  // looked for, and there are some
  // Once they are known:
  bool is_copy(size_t row) const { return (bits_[row / 64] >> (row % 64) & 1) != 0; }
  bool any(size_t first, size_t count) const;  // copies among rows [first, first + count), count at most 128
  // A row with all its copies, the original first, then by id; empty for a row that has no copy.
  std::span<const int64_t> alike(int64_t row) const;

 private:
  struct Place {
    int64_t row;
    size_t group;
  };
  void find_now(const RowAt& row_at, const float* norm, const int64_t* ids, size_t rows);

  std::atomic<bool> begun_{false};
  std::atomic<bool> known_{false};
  std::vector<uint64_t> bits_;  // a bit for each row: a copy
  std::vector<int64_t> rows_;   // group by group
  std::vector<size_t> starts_;  // group g is rows_[starts_[g]] to rows_[starts_[g + 1] - 1]
  std::vector<Place> groups_;   // of each row that is in one, by row
};

}  // namespace jmlr
