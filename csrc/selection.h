// Which rows (of MaxSim: passages) each query may be answered with.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace jmlr {

// A row counts where every mask that is there lets it in. In a bitmap row r is bit r % 8 of byte r / 8.
struct Selection {
  size_t rows = 0;
  const uint8_t* shared = nullptr;    // a bitmap for all queries, or null
  const uint8_t* by_query = nullptr;  // a bitmap for each query, [queries, (rows + 7) / 8], or null
  const int64_t* listed = nullptr;    // rows, distinct and ascending for each query; or null
  const int64_t* starts = nullptr;    // query q's list goes from starts[q] to starts[q + 1] - 1
  bool only_listed = false;           // the lists say what is allowed; else what is not

  bool by_query_too() const { return by_query != nullptr || listed != nullptr; }
  bool restricts() const { return shared != nullptr || by_query_too(); }

  // The same for the queries from number q on.
  Selection from(size_t q) const {
    Selection rest = *this;
    if (by_query != nullptr) rest.by_query += q * bytes();
    if (starts != nullptr) rest.starts += q;
    return rest;
  }

  bool allows(size_t q, size_t row) const {
    if (!mapped(q, row)) return false;
    if (listed == nullptr) return true;
    const int64_t* const at = list_from(q, row);
    return (at != list_end(q) && *at == static_cast<int64_t>(row)) == only_listed;
  }

  // True if no query may have any of rows [first, last).
  bool bars(size_t first, size_t last) const {
    for (size_t row = first; row < last; ++row) {
      if (shared == nullptr || bit(shared, row)) return false;
      if (row % 8 == 0 && shared[row / 8] == 0) row += 7;
    }
    return true;
  }

  // Calls found(row) for rows [first, last) that query q may have, ascending.
  template <class Found>
  void each(size_t q, size_t first, size_t last, const Found& found) const {
    const int64_t* next = listed != nullptr ? list_from(q, first) : nullptr;
    const int64_t* const end = listed != nullptr ? list_end(q) : nullptr;
    if (listed != nullptr && only_listed) {
      for (; next != end && static_cast<size_t>(*next) < last; ++next) {
        if (mapped(q, static_cast<size_t>(*next))) found(static_cast<size_t>(*next));
      }
      return;
    }
    for (size_t at = first / 64; at * 64 < last; ++at) {
      for (uint64_t word = mapped_word(q, at); word != 0; word &= word - 1) {
        const size_t row = at * 64 + static_cast<size_t>(std::countr_zero(word));
        if (row < first || row >= last) continue;
        while (next != end && static_cast<size_t>(*next) < row) ++next;
        if (next == end || static_cast<size_t>(*next) != row) found(row);
      }
    }
  }

  // How many rows each of the first queries may have.
  std::vector<size_t> counts(size_t queries) const {
    std::vector<size_t> held(queries);
    for (size_t q = 0; q < queries; ++q) {  // without bitmaps of their own all have the first one's bits
      held[q] = q == 0 || by_query != nullptr ? count_mapped(q) : held[0];
    }
    for (size_t q = 0; listed != nullptr && q < queries; ++q) {
      const auto named = static_cast<size_t>(std::count_if(
          list_from(q, 0), list_end(q), [&](int64_t row) { return mapped(q, static_cast<size_t>(row)); }));
      held[q] = only_listed ? named : held[q] - named;
    }
    return held;
  }

 private:
  static bool bit(const uint8_t* map, size_t row) { return (map[row / 8] >> (row % 8) & 1) != 0; }
  size_t bytes() const { return (rows + 7) / 8; }
  const uint8_t* map_of(size_t q) const { return by_query + q * bytes(); }
  bool mapped(size_t q, size_t row) const {
    return (shared == nullptr || bit(shared, row)) && (by_query == nullptr || bit(map_of(q), row));
  }
  const int64_t* list_end(size_t q) const { return listed + starts[q + 1]; }
  const int64_t* list_from(size_t q, size_t row) const {
    return std::lower_bound(listed + starts[q], list_end(q), static_cast<int64_t>(row));
  }

  // What the bitmaps say of rows 64 at to 64 at + 63, the first in the lowest bit.
  uint64_t mapped_word(size_t q, size_t at) const {
    static_assert(std::endian::native == std::endian::little);
    uint64_t all = ~uint64_t{0}, own = ~uint64_t{0};
    const size_t width = std::min(bytes() - std::min(bytes(), at * 8), sizeof all);
    if (shared != nullptr) std::memcpy(&all, shared + at * 8, width);
    if (by_query != nullptr) std::memcpy(&own, map_of(q) + at * 8, width);
    return all & own;
  }

  // Rows that the bitmaps leave to query q.
  size_t count_mapped(size_t q) const {
    if (shared == nullptr && by_query == nullptr) return rows;
    size_t held = 0;
    for (size_t at = 0; at * 64 < rows; ++at) {
      const size_t left = rows - at * 64;
      const uint64_t inside = left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
      held += static_cast<size_t>(std::popcount(mapped_word(q, at) & inside));
    }
    return held;
  }
};

}  // namespace jmlr
