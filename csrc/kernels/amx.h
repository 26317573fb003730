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
constexpr size_t kBlockRows = 2 * kTileHeight;

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

// Tests the rows that the tiles are done with, a block at a time and some rows of it at each step of the products of
// the next: these leave the units for vectors idle. No branch asks how a test ended, since a wrong guess would cost
// more than the test. Nor does it decide where anything is stored: tiles wait until they know where all stores before
// them go.
template <class Test>
class Sieve {
 public:
  Sieve(const Test& test, size_t width, size_t unit_count)
      : test_(test), width_(width), at_once_((kBlockRows * kTileUnits + unit_count - 1) / unit_count) {}

  // The scores of `count` rows from `first` on are there.
  void begin(const float* scores, size_t first, size_t count) {
    scores_ = scores;
    first_ = first;
    count_ = count;
    next_ = 0;
    hot_ = 0;
  }
  void step() { test_upto(next_ + at_once_ < count_ ? next_ + at_once_ : count_); }
  // Calls found(row, query, score as stored) for all of the block that passed.
  template <class Found>
  void finish(const Found& found) {
    test_upto(count_);
    for (uint32_t rows = hot_; rows != 0; rows &= rows - 1) {
      const auto r = static_cast<uint32_t>(__builtin_ctz(rows));
      for (uint32_t left = passed_[r]; left != 0; left &= left - 1) {
        const auto j = static_cast<uint32_t>(__builtin_ctz(left));
        found(static_cast<uint32_t>(first_) + r, j, scores_[r * width_ + j]);
      }
    }
  }

 private:
  void test_upto(size_t end) {
    for (size_t r = next_; r < end; ++r) {
      const uint32_t passed = test_(scores_ + r * width_, first_ + r);
      passed_[r] = passed;
      hot_ |= static_cast<uint32_t>(passed != 0) << r;
    }
    next_ = end;
  }

  const Test test_;
  const size_t width_, at_once_;
  const float* scores_ = nullptr;
  size_t first_ = 0, count_ = 0, next_ = 0;
  uint32_t hot_ = 0;  // the rows that passed for some query, by bits
  uint32_t passed_[kBlockRows];
};

struct NoSieve {
  void step() {}
};

// Fetches the rows that come next, line by line, while the tiles multiply.
class Ahead {
 public:
  Ahead(const RowBlock& rows, size_t steps)
      : next_(rows.ahead),
        end_(rows.ahead + rows.ahead_bytes),
        bytes_((rows.ahead_bytes / kLine / steps + 1) * kLine) {}
  void step() {
    const char* const upto = end_ - next_ > static_cast<ptrdiff_t>(bytes_) ? next_ + bytes_ : end_;
    const char* next = next_;
    for (; next < upto; next += kLine) __builtin_prefetch(next, 0, 2);
    next_ = next;
  }

 private:
  static constexpr size_t kLine = 64;
  const char* next_;
  const char* end_;
  size_t bytes_;  // of a step
};

// What tiles are loaded from.
struct TileView {
  const char* row;
  size_t stride;
  const char* query;
  size_t steps;  // of kTileUnits units
  static constexpr size_t kRowStep = kTileUnits * 4;
  TileView from(size_t first) const { return {row + first * stride, stride, query, steps}; }
};

// Blocks of 32 rows x 32 queries, one after another. A tile register is loaded anew as soon as the last product that
// reads it has begun: with the next step of the row, after the last step with the next block. What a block has summed
// up is stored between the first products of the next. So loads and stores wait for nothing, and products for little.
template <class Op, class Tiles>
class TileStream {
 public:
  TileStream(Tiles& tiles, const TileView& view) : tiles_(tiles), stride_(view.stride) {
    load_first_row(view.row);
    load_first_query(view.query);
    load_second_query(view.query);
    load_second_row(view.row);
  }
  // Multiplies what is loaded, and loads what is next. The first step of a block stores the sums of the one before it.
  template <bool kFirst>
  [[gnu::always_inline]] void step(const char* next_row, const char* next_query, float* before) {
    multiply<kFirst, 0, 4, 6>(before);
    multiply<kFirst, 1, 4, 7>(before);
    load_first_row(next_row);
    multiply<kFirst, 2, 5, 6>(before);
    load_first_query(next_query);
    multiply<kFirst, 3, 5, 7>(before);
    load_second_query(next_query);
    load_second_row(next_row);
  }
  [[gnu::always_inline]] void finish(float* out) {
    store<0>(out);
    store<1>(out);
    store<2>(out);
    store<3>(out);
  }
  static constexpr size_t kQueryStep = kTileUnits * 2 * kTileQueries * 4;

 private:
  static constexpr size_t kPanelBytes = 2 * kTileQueries * 4;  // from unit to unit
  void load_first_row(const char* row) { tiles_.template load_once<4>(row, stride_); }
  void load_second_row(const char* row) { tiles_.template load_once<5>(row + kTileHeight * stride_, stride_); }
  void load_first_query(const char* query) { tiles_.template load<6>(query, kPanelBytes); }
  void load_second_query(const char* query) { tiles_.template load<7>(query + kTileQueries * 4, kPanelBytes); }
  template <int kSum>
  [[gnu::always_inline]] void store(float* out) {
    tiles_.template store<kSum>(out + (kSum / 2 * 2 * kTileHeight + kSum % 2) * kTileQueries, kPanelBytes);
    tiles_.template zero<kSum>();
  }

  template <bool kStore, int kSum, int kRow, int kQuery>
  [[gnu::always_inline]] void multiply(float* before) {
    if constexpr (kStore) store<kSum>(before);
    Op::template multiply<kSum, kRow, kQuery>(tiles_);
  }

  Tiles& tiles_;
  const size_t stride_;
};

// For each block of rows its scores go to room(first row), then after(scores, first row, rows) is called, while the
// next is multiplied.
template <class Op, class Tiles, class Beside, class Room, class After>
[[gnu::always_inline]] inline void stream_blocks(Tiles& tiles, const TileView& view, size_t blocks, Ahead& ahead,
                                                 Beside& beside, Room& room, const After& after) {
  using Stream = TileStream<Op, Tiles>;
  Stream stream(tiles, view);
  float* before = nullptr;
  for (size_t b = 0; b < blocks; ++b) {
    float* const out = room(b * kBlockRows);
    const char* row = view.row + b * kBlockRows * view.stride;
    const char* const next_block = b + 1 < blocks ? row + kBlockRows * view.stride : row;  // after the last, anything
    const char* query = view.query;
    const auto next_row = [&](size_t u) { return u + 1 < view.steps ? row += TileView::kRowStep : next_block; };
    const auto next_query = [&](size_t u) { return u + 1 < view.steps ? query += Stream::kQueryStep : view.query; };
    ahead.step();
    const char* const at = next_row(0);
    stream.template step<true>(at, next_query(0), b > 0 ? before : out);  // before the first come zeros
    if (b > 0) after(before, (b - 1) * kBlockRows, kBlockRows);
    for (size_t u = 1; u < view.steps; ++u) {
      ahead.step();
      beside.step();
      const char* const then = next_row(u);
      stream.template step<false>(then, next_query(u), nullptr);
    }
    before = out;
  }
  stream.finish(before);
  after(before, (blocks - 1) * kBlockRows, kBlockRows);
}

// The same for at most 16 x kRows rows, and the tiles' 16 x kQueries queries.
template <class Op, int kRows, int kQueries, class Tiles, class Beside>
[[gnu::always_inline]] inline void tile_block(Tiles& tiles, const TileView& view, Ahead& ahead, Beside& beside,
                                              float* out) {
  constexpr size_t kPanelBytes = kQueries * kTileQueries * 4;  // from unit to unit
  const char* row = view.row;
  const char* query = view.query;
  tiles.template zero<0>();
  if constexpr (kQueries == 2) tiles.template zero<1>();
  if constexpr (kRows == 2) tiles.template zero<2>();
  for (size_t u = 0; u < view.steps; ++u, row += TileView::kRowStep, query += kTileUnits * kPanelBytes) {
    ahead.step();
    beside.step();
    tiles.template load_once<4>(row, view.stride);
    tiles.template load<6>(query, kPanelBytes);
    Op::template multiply<0, 4, 6>(tiles);
    if constexpr (kQueries == 2) {
      tiles.template load<7>(query + kTileQueries * 4, kPanelBytes);
      Op::template multiply<1, 4, 7>(tiles);
    }
    if constexpr (kRows == 2) {
      tiles.template load_once<5>(row + kTileHeight * view.stride, view.stride);
      Op::template multiply<2, 5, 6>(tiles);
    }
  }
  tiles.template store<0>(out, kPanelBytes);
  if constexpr (kQueries == 2) tiles.template store<1>(out + kTileQueries, kPanelBytes);
  if constexpr (kRows == 2) tiles.template store<2>(out + kTileHeight * kQueries * kTileQueries, kPanelBytes);
}

template <class Tiles, class Op, int kQueries, class Beside, class Room, class After>
[[gnu::always_inline]] inline void tile_blocks(const QueryPanel& panel, const RowBlock& rows, Beside& beside, Room room,
                                               const After& after) {
  const size_t count = rows.count;
  const TileView view{static_cast<const char*>(rows.codes), rows.stride, static_cast<const char*>(panel.units),
                      (panel.unit_count + kTileUnits - 1) / kTileUnits};
  Ahead ahead(rows, (count + kBlockRows - 1) / kBlockRows * view.steps);
  const auto block = [&]<int kRows>(Tiles& tiles, size_t first, size_t held) {
    float* const scores = room(first);
    tile_block<Op, kRows, kQueries>(tiles, view.from(first), ahead, beside, scores);
    after(scores, first, held);
  };
  size_t r = 0;
  if (count >= kTileHeight) {
    Tiles tiles(kTileHeight);
    if constexpr (kQueries == 2) {
      if (count >= kBlockRows) stream_blocks<Op>(tiles, view, count / kBlockRows, ahead, beside, room, after);
      r = count / kBlockRows * kBlockRows;
    } else {
      for (; r + kBlockRows <= count; r += kBlockRows) block.template operator()<2>(tiles, r, kBlockRows);
    }
    if (r + kTileHeight <= count) {
      block.template operator()<1>(tiles, r, kTileHeight);
      r += kTileHeight;
    }
  }
  if (r < count) {
    Tiles tiles(count - r);  // a tile reads and writes no more rows than it is configured for
    block.template operator()<1>(tiles, r, count - r);
  }
}

template <class Tiles, class Op, int kQueries>
void scan_panel_by_tiles(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  NoSieve none;
  tile_blocks<Tiles, Op, kQueries>(
      panel, rows, none, [=](size_t first) { return scores + first * kQueries * kTileQueries; },
      [](const float*, size_t, size_t) {});
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
  constexpr size_t kBlock = kBlockRows * kWidth;
  alignas(64) float ring[2 * kBlock];  // what is tested, and what is multiplied meanwhile: both stay in the cache
  size_t held = 0;
  Sieve<Test<Op, kWidth>> sieve({panel, rows, terms}, kWidth, panel.unit_count);
  size_t found = 0;
  const auto note = [&](uint32_t r, uint32_t j, float stored) {
    scores[found] = Op::score(stored, panel, j, rows.scale != nullptr ? rows.scale[r] : 1.0f);
    hits[found++] = {r, j};
  };
  tile_blocks<Tiles, Op, kQueries>(
      panel, rows, sieve, [&](size_t) { return ring + held++ % 2 * kBlock; },
      [&](const float* block, size_t first, size_t count) {
        sieve.finish(note);
        sieve.begin(block, first, count);
      });
  sieve.finish(note);
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
