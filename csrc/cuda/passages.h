// MaxSim: where passages lie in tiles of rows, and queries in tiles of columns. Index arithmetic for host and device.
//
// Consecutive passages, kChunkPassages at most, share a *chunk* of up to kChunkRows token rows, which begins at a tile
// of its own; a longer passage is a chunk. Rows past a chunk's last passage are zero and belong to none. A block scans
// whole chunks, so the maxima of a passage never leave it. In the same way a *group* is a tile of columns (slots, each
// a query's token) that whole queries share, or all the tiles of one query that needs more.
#pragma once

#include <stdexcept>
#include <vector>

#include "cuda/types.h"

namespace jmlr::cuda {

constexpr uint32_t kChunkRows = 8 * kTileRows;
constexpr uint32_t kChunkPassages = 256;
constexpr uint32_t kMaxRows = 0x7fffff80u;

// Columns that a scan multiplies at a time: tensor cores take 128, of which an int8 token has two.
JMLR_HD constexpr uint32_t group_width(Storage storage) { return storage == Storage::bfloat16 ? 128 : 64; }

struct Range {
  uint32_t begin, end;
};

// On the device, beside `Rows` whose rows are laid out as above.
struct Passages {
  uint32_t count, chunks;
  const Range* rows;      // [count]
  const uint32_t* chunk;  // [chunks + 1] the first passage of each
  const float* residual;  // [count] largest of the passage's rows
  const float* norm;      // [count]
  const int64_t* ids;     // [count], or null: the passage's number
};

struct Group {
  uint32_t first_tile, tiles;  // of columns; more than one only where queries is 1
  uint32_t first_query, queries;
};

struct PassageLayout {
  std::vector<Range> rows;
  std::vector<uint32_t> chunk{0};
  uint64_t padded = 0;  // rows in all
};
// `offsets` [count + 1] rise from 0.
inline PassageLayout layout_of(const int64_t* offsets, size_t count) {
  PassageLayout layout;
  layout.rows.reserve(count);
  uint64_t first = 0;  // row of the open chunk
  uint64_t next = 0;
  for (size_t p = 0; p < count; ++p) {
    const auto length = static_cast<uint64_t>(offsets[p + 1] - offsets[p]);
    if (p != 0 && (next + length > first + kChunkRows || p - layout.chunk.back() == kChunkPassages)) {
      layout.chunk.push_back(static_cast<uint32_t>(p));
      first = next = round_to(next, uint64_t{kTileRows});
    }
    if (next + length > kMaxRows) {
      throw std::invalid_argument("tokens: the passages fill more than 2^31 rows; shard them and merge");
    }
    layout.rows.push_back({static_cast<uint32_t>(next), static_cast<uint32_t>(next + length)});
    next += length;
  }
  if (count != 0) layout.chunk.push_back(static_cast<uint32_t>(count));
  layout.padded = round_to(next, uint64_t{kTileRows});
  return layout;
}

struct QueryLayout {
  std::vector<Range> slots;
  std::vector<Group> groups;
  uint32_t padded = 0;  // slots in all
};
// Queries of lengths[q] tokens, one at least, in tiles of `width` slots.
inline QueryLayout query_layout_of(const int64_t* lengths, size_t count, uint32_t width) {
  QueryLayout layout;
  uint32_t next = 0;
  for (uint32_t q = 0; q < count; ++q) {
    const auto length = static_cast<uint32_t>(lengths[q]);
    const uint32_t room = (width - next % width) % width;
    if (length <= room) {
      ++layout.groups.back().queries;
    } else {
      next += room;
      layout.groups.push_back({next / width, divide_up(length, width), q, 1});
    }
    layout.slots.push_back({next, next + length});
    next += length;
    if (length > width) next = round_to(next, width);  // the rest of its last tile stays empty
  }
  layout.padded = round_to(next, width);
  return layout;
}

// How many chunks, in their order, hold at most `room` passages: the first phase keeps all of these.
inline uint32_t first_chunks(const std::vector<uint32_t>& chunk, const Order& order, uint32_t room) {
  uint32_t held = 0;
  uint32_t position = 0;
  for (; position < order.tiles; ++position) {
    const uint32_t c = order.tile_at(position);
    held += chunk[c + 1] - chunk[c];
    if (held > room) break;
  }
  return position;
}

// Everything a scan of passages is given: `scan.order` and `scan.phase` count chunks, `scan.queries` slots, `scan.out`
// queries and passages.
struct PassageScan {
  Scan scan;
  Passages passages;
  const Range* slots;  // [queries]
  const Group* groups;
  uint32_t group_count;
  const SumBound* bound;  // [queries]
};

}  // namespace jmlr::cuda
