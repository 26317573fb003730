// The loop of the tile kernels: 32 rows x 32 queries of sums stay in four of the eight tile registers over the whole of
// a row, so that four products need four loads.
//
// A tile register holds 16 rows of 64 bytes: 16 units of 32 bits. A panel of queries is laid out as the second factor
// wants it (unit by unit, queries side by side), and a row block as the first. `Tiles` are the processor's registers
// (avx512amx.cpp) or what the tests put in their place (tests/native/tile_emulation.h); configured when made, released
// when destroyed. Everything here has internal linkage: each file that includes it is compiled for another machine.
#pragma once

#include "../kernel.h"

namespace jmlr {
namespace {

constexpr size_t kTileUnits = 16;    // units of a tile's row
constexpr size_t kTileHeight = 16;   // rows of a tile
constexpr size_t kTileQueries = 16;  // queries of a tile

struct TileBfloat16 {
  static constexpr bool kInteger = false;  // what the tiles store
  static float score(float stored, const QueryPanel&, size_t, float) { return stored; }
  template <int kSum, int kRow, int kQuery, class Tiles>
  static void multiply(Tiles& tiles) {
    tiles.template multiply_bfloat16<kSum, kRow, kQuery>();
  }
  template <size_t kWidth>
  static void finish(const QueryPanel&, const RowBlock&, float*) {}
};

struct TileInt8 {
  static constexpr bool kInteger = true;
  template <int kSum, int kRow, int kQuery, class Tiles>
  static void multiply(Tiles& tiles) {
    tiles.template multiply_int8<kSum, kRow, kQuery>();
  }
  // From the integer that the tiles store to the score.
  static float score(float stored, const QueryPanel& panel, size_t j, float row_scale) {
    int32_t dot;
    __builtin_memcpy(&dot, &stored, sizeof dot);
    return static_cast<float>(dot - panel.offset[j]) * panel.scale[j] * row_scale;
  }
  // The same for all, in place.
  template <size_t kWidth>
  static void finish(const QueryPanel& panel, const RowBlock& rows, float* scores) {
    for (size_t r = 0; r < rows.count; ++r, scores += kWidth) {
      for (size_t j = 0; j < kWidth; ++j) scores[j] = score(scores[j], panel, j, rows.scale[r]);
    }
  }
};

// Which queries of a panel row r may still be an answer to, by bits: `FilterTerms`, on what the tiles stored.
template <class Op, size_t kWidth>
class TileTest {
 public:
  TileTest(const QueryPanel& panel, const RowBlock& rows, const FilterTerms& terms)
      : panel_(panel), rows_(rows), terms_(terms) {}
  uint32_t operator()(const float* stored, size_t r) const {
    uint32_t passed = 0;
    for (size_t j = 0; j < kWidth; ++j) {
      const float score = Op::score(stored[j], panel_, j, rows_.scale != nullptr ? rows_.scale[r] : 1.0f);
      const float upper = score + terms_.a[r] * terms_.u[j] + terms_.b[r] * terms_.v[j];
      passed |= static_cast<uint32_t>(!(upper < terms_.floor_j[j])) << j;
    }
    return passed;
  }

 private:
  const QueryPanel& panel_;
  const RowBlock& rows_;
  const FilterTerms& terms_;
};

// Tests the rows that the tiles are done with, some at each step of the products that follow: these leave the units for
// vectors idle. No branch asks how a test ended, since a wrong guess would cost more than the test.
template <class Test>
class Sieve {
 public:
  Sieve(const Test& test, const float* scores, size_t width, size_t unit_count, uint32_t* passed, uint32_t* hot)
      : test_(test),
        scores_(scores),
        width_(width),
        at_once_((2 * kTileHeight * kTileUnits + unit_count - 1) / unit_count),
        passed_(passed),
        hot_(hot) {}
  void step() { test_upto(next_ + at_once_ < stored_ ? next_ + at_once_ : stored_); }
  void stored(size_t rows) { stored_ = rows; }  // the first so many
  // Returns how many rows passed for some query: hot[i] is the i-th of them, passed[hot[i]] says which.
  size_t finish() {
    test_upto(stored_);
    return count_;
  }

 private:
  void test_upto(size_t end) {
    size_t count = count_;
    for (size_t r = next_; r < end; ++r) {
      const uint32_t passed = test_(scores_ + r * width_, r);
      passed_[r] = passed;
      hot_[count] = static_cast<uint32_t>(r);
      count += static_cast<size_t>(passed != 0);
    }
    next_ = end;
    count_ = count;
  }

  const Test test_;
  const float* const scores_;
  const size_t width_, at_once_;
  uint32_t* const passed_;
  uint32_t* const hot_;
  size_t next_ = 0, stored_ = 0, count_ = 0;
};

struct NoSieve {
  void step() {}
  void stored(size_t) {}
};

// Fetches the rows that come next, line by line, while the tiles multiply.
class Ahead {
 public:
  Ahead(const RowBlock& rows, size_t steps)
      : next_(rows.ahead),
        end_(rows.ahead + rows.ahead_bytes),
        bytes_((rows.ahead_bytes / kLine / steps + 1) * kLine) {}
  void step() {
    const char* upto = end_ - next_ > static_cast<ptrdiff_t>(bytes_) ? next_ + bytes_ : end_;
    for (; next_ < upto; next_ += kLine) __builtin_prefetch(next_, 0, 2);
  }

 private:
  static constexpr size_t kLine = 64;
  const char* next_;
  const char* end_;
  size_t bytes_;  // of a step
};

// kRows x kQueries tiles of what the tiles store: rows from `first` on, at most 16 x kRows.
template <class Op, int kRows, int kQueries, class Tiles, class Beside>
void tile_block(Tiles& tiles, const QueryPanel& panel, const RowBlock& rows, size_t first, Ahead& ahead, Beside& sieve,
                float* scores) {
  constexpr size_t kUnitBytes = 4;
  constexpr size_t kPanelBytes = kQueries * kTileQueries * kUnitBytes;  // from unit to unit
  const char* row = static_cast<const char*>(rows.codes) + first * rows.stride;
  const auto* query = static_cast<const char*>(panel.units);
  float* out = scores + first * kQueries * kTileQueries;
  tiles.template zero<0>();
  if constexpr (kQueries == 2) tiles.template zero<1>();
  if constexpr (kRows == 2) tiles.template zero<2>();
  if constexpr (kRows == 2 && kQueries == 2) tiles.template zero<3>();
  for (size_t u = 0; u < panel.unit_count; u += kTileUnits) {
    ahead.step();
    sieve.step();
    tiles.template load_once<4>(row + u * kUnitBytes, rows.stride);
    tiles.template load<6>(query + u * kPanelBytes, kPanelBytes);
    Op::template multiply<0, 4, 6>(tiles);
    if constexpr (kQueries == 2) {
      tiles.template load<7>(query + u * kPanelBytes + kTileQueries * kUnitBytes, kPanelBytes);
      Op::template multiply<1, 4, 7>(tiles);
    }
    if constexpr (kRows == 2) {
      tiles.template load_once<5>(row + kTileHeight * rows.stride + u * kUnitBytes, rows.stride);
      Op::template multiply<2, 5, 6>(tiles);
      if constexpr (kQueries == 2) Op::template multiply<3, 5, 7>(tiles);
    }
  }
  tiles.template store<0>(out, kPanelBytes);
  if constexpr (kQueries == 2) tiles.template store<1>(out + kTileQueries, kPanelBytes);
  if constexpr (kRows == 2) tiles.template store<2>(out + kTileHeight * kQueries * kTileQueries, kPanelBytes);
  if constexpr (kRows == 2 && kQueries == 2) {
    tiles.template store<3>(out + kTileHeight * kQueries * kTileQueries + kTileQueries, kPanelBytes);
  }
}

template <class Tiles, class Op, int kQueries, class Beside>
void tile_blocks(const QueryPanel& panel, const RowBlock& rows, Beside& sieve, float* scores) {
  Ahead ahead(rows, (rows.count + 2 * kTileHeight - 1) / (2 * kTileHeight) * panel.unit_count / kTileUnits);
  size_t r = 0;
  if (rows.count >= kTileHeight) {
    Tiles tiles(kTileHeight);
    for (; r + 2 * kTileHeight <= rows.count; r += 2 * kTileHeight) {
      tile_block<Op, 2, kQueries>(tiles, panel, rows, r, ahead, sieve, scores);
      sieve.stored(r + 2 * kTileHeight);
    }
    if (r + kTileHeight <= rows.count) {
      tile_block<Op, 1, kQueries>(tiles, panel, rows, r, ahead, sieve, scores);
      sieve.stored(r += kTileHeight);
    }
  }
  if (r < rows.count) {
    Tiles tiles(rows.count - r);  // a tile reads and writes no more rows than it is configured for
    tile_block<Op, 1, kQueries>(tiles, panel, rows, r, ahead, sieve, scores);
    sieve.stored(rows.count);
  }
}

template <class Tiles, class Op, int kQueries>
void scan_panel_by_tiles(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  NoSieve none;
  tile_blocks<Tiles, Op, kQueries>(panel, rows, none, scores);
  // Not between the products: loads of tiles wait for the stores before them.
  Op::template finish<kQueries * kTileQueries>(panel, rows, scores);
}

// Takes panels of 16 and of 32 queries.
template <class Tiles, class Op>
void scan_tiles(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width == kTileQueries) {
    scan_panel_by_tiles<Tiles, Op, 1>(panel, rows, scores);
  } else {
    scan_panel_by_tiles<Tiles, Op, 2>(panel, rows, scores);
  }
}

template <class Tiles, class Op, int kQueries, template <class, size_t> class Test>
size_t sieve_panel(const QueryPanel& panel, const RowBlock& rows, const FilterTerms& terms, float* scores, Hit* hits) {
  constexpr size_t kWidth = kQueries * kTileQueries;
  uint32_t passed[kSievedRows], hot[kSievedRows];
  Sieve<Test<Op, kWidth>> sieve({panel, rows, terms}, scores, kWidth, panel.unit_count, passed, hot);
  tile_blocks<Tiles, Op, kQueries>(panel, rows, sieve, scores);
  const size_t count = sieve.finish();
  size_t found = 0;
  for (size_t h = 0; h < count; ++h) {
    const uint32_t r = hot[h];
    for (uint32_t left = passed[r]; left != 0; left &= left - 1) {
      const auto j = static_cast<uint32_t>(__builtin_ctz(left));
      float& score = scores[r * kWidth + j];
      score = Op::score(score, panel, j, rows.scale != nullptr ? rows.scale[r] : 1.0f);
      hits[found++] = {r, j};
    }
  }
  return found;
}

// scan_tiles and the filter in one, for at most kSievedRows rows. Afterwards `scores` holds those of the hits alone.
template <class Tiles, class Op, template <class, size_t> class Test>
size_t sieve_tiles(const QueryPanel& panel, const RowBlock& rows, const FilterTerms& terms, float* scores, Hit* hits) {
  return panel.width == kTileQueries ? sieve_panel<Tiles, Op, 1, Test>(panel, rows, terms, scores, hits)
                                     : sieve_panel<Tiles, Op, 2, Test>(panel, rows, terms, scores, hits);
}

}  // namespace
}  // namespace jmlr
