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
  template <int kSum, int kRow, int kQuery, class Tiles>
  static void multiply(Tiles& tiles) {
    tiles.template multiply_bfloat16<kSum, kRow, kQuery>();
  }
  template <size_t kWidth>
  static void finish(const QueryPanel&, const RowBlock&, float*) {}
};

struct TileInt8 {
  template <int kSum, int kRow, int kQuery, class Tiles>
  static void multiply(Tiles& tiles) {
    tiles.template multiply_int8<kSum, kRow, kQuery>();
  }
  // From the integers that the tiles store to scores, in place.
  template <size_t kWidth>
  static void finish(const QueryPanel& panel, const RowBlock& rows, float* scores) {
    for (size_t r = 0; r < rows.count; ++r, scores += kWidth) {
      for (size_t j = 0; j < kWidth; ++j) {
        int32_t dot;
        __builtin_memcpy(&dot, scores + j, sizeof dot);
        scores[j] = static_cast<float>(dot - panel.offset[j]) * panel.scale[j] * rows.scale[r];
      }
    }
  }
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

// kRows x kQueries tiles of scores: rows from `first` on, at most 16 x kRows.
template <class Op, int kRows, int kQueries, class Tiles>
void tile_block(Tiles& tiles, const QueryPanel& panel, const RowBlock& rows, size_t first, Ahead& ahead,
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

template <class Tiles, class Op, int kQueries>
void tile_blocks(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  Ahead ahead(rows, (rows.count + 2 * kTileHeight - 1) / (2 * kTileHeight) * panel.unit_count / kTileUnits);
  size_t r = 0;
  if (rows.count >= kTileHeight) {
    Tiles tiles(kTileHeight);
    for (; r + 2 * kTileHeight <= rows.count; r += 2 * kTileHeight) {
      tile_block<Op, 2, kQueries>(tiles, panel, rows, r, ahead, scores);
    }
    if (r + kTileHeight <= rows.count) {
      tile_block<Op, 1, kQueries>(tiles, panel, rows, r, ahead, scores);
      r += kTileHeight;
    }
  }
  if (r < rows.count) {
    Tiles tiles(rows.count - r);  // a tile reads and writes no more rows than it is configured for
    tile_block<Op, 1, kQueries>(tiles, panel, rows, r, ahead, scores);
  }
  // Not between the products: loads of tiles wait for the stores before them.
  Op::template finish<kQueries * kTileQueries>(panel, rows, scores);
}

// Takes panels of 16 and of 32 queries.
template <class Tiles, class Op>
void scan_tiles(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width == kTileQueries) {
    tile_blocks<Tiles, Op, 1>(panel, rows, scores);
  } else {
    tile_blocks<Tiles, Op, 2>(panel, rows, scores);
  }
}

}  // namespace
}  // namespace jmlr
