// Where everything lies: tiles of codes, the swizzle of shared memory, the order in which rows are visited, the
// workspace. Index arithmetic only, for host and device alike, so that all of it is tested without a GPU.
//
// Codes are stored as the tensor cores read them from shared memory, so that fetching a tile is one copy of contiguous
// bytes: [blocks of `height` rows][D in units of 128 bytes][height rows x 128 bytes], the eight 16-byte chunks of row r
// permuted by XOR with r & 7. One unit holds 64 bfloat16 or 128 int8; what is past D or past the last row is zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>

#include "kernel.h"
#include "rounding.h"

namespace jmlr::cuda {

constexpr uint32_t kTileRows = 128;
constexpr uint32_t kUnitBytes = 128;    // of a row in a tile
constexpr uint32_t kChunkBytes = 16;    // what one thread loads at a time
constexpr uint32_t kChunks = 8;         // in a unit
constexpr uint32_t kMaxK = 2048;        // sorted in shared memory
constexpr uint32_t kBatch = 2048;       // queries at a time at most: bounds the workspace
constexpr uint32_t kStreamingB = 4;     // up to here rows are streamed past queries in registers, without tensor cores
constexpr uint32_t kStreamingF32 = 16;  // the same for float32, which has no tensor cores to turn to
constexpr size_t kCandidateBytes = size_t{256} << 20;  // of all candidate lists of a batch, about

template <typename T>
JMLR_HD constexpr T divide_up(T a, T b) {
  return (a + b - 1) / b;
}
template <typename T>
JMLR_HD constexpr T round_to(T a, T multiple) {
  return divide_up(a, multiple) * multiple;
}
template <typename T>
JMLR_HD constexpr T least(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
JMLR_HD constexpr T most(T a, T b) {
  return a < b ? b : a;
}

// Bytes of one coordinate of a code; float32 is scanned in place but packed for queries by the same rules.
JMLR_HD constexpr uint32_t code_bytes(Storage storage) {
  return storage == Storage::float32 ? 4 : storage == Storage::bfloat16 ? 2 : 1;
}
// Units of 128 bytes that hold one row's codes.
JMLR_HD constexpr uint32_t units_of(Storage storage, uint32_t dim) {
  return divide_up(dim * code_bytes(storage), kUnitBytes);
}
// Floats from row to row of the vectors: rows begin at multiples of 16 bytes.
JMLR_HD constexpr uint32_t vector_stride(uint32_t dim) { return round_to(dim, uint32_t{4}); }

// Byte within a tile of byte `b` (0..127) of row r.
JMLR_HD constexpr uint32_t swizzled(uint32_t r, uint32_t b) {
  return r * kUnitBytes + ((((b / kChunkBytes) ^ r) & 7u) * kChunkBytes) + b % kChunkBytes;
}
// Byte of byte `b` of row `row` in codes made of tiles of `height` rows, `units` to a row.
JMLR_HD constexpr size_t tiled(uint64_t row, uint32_t b, uint32_t units, uint32_t height) {
  const uint64_t tile = row / height * units + b / kUnitBytes;
  return tile * height * kUnitBytes + swizzled(static_cast<uint32_t>(row % height), b % kUnitBytes);
}
JMLR_HD constexpr size_t tiled_bytes(uint64_t rows, uint32_t units, uint32_t height) {
  return round_to(rows, uint64_t{height}) * units * kUnitBytes;
}

// What `wgmma` is told about an operand in shared memory at byte `address`: K-major, 128-byte swizzle. Fields in units
// of 16 bytes: bits 0-13 start, 16-29 leading offset (unused when swizzled), 32-45 bytes from 8 rows to the next 8,
// 62-63 the swizzle (1: 128 bytes). Stepping along K adds bytes to the start; the hardware applies the XOR to the sum.
JMLR_HD constexpr uint64_t tile_descriptor(uint32_t address) {
  return static_cast<uint64_t>((address & 0x3ffffu) >> 4) | uint64_t{1} << 16 |
         static_cast<uint64_t>(8 * kUnitBytes / 16) << 32 | uint64_t{1} << 62;
}

// Row (of 64) and column of register i of thread t (of 128) in the result of a wgmma; one warp of an mma.sync is the
// same for its first 16 rows.
JMLR_HD constexpr uint32_t fragment_row(uint32_t t, uint32_t i) { return t / 32 * 16 + t % 32 / 4 + (i >> 1 & 1u) * 8; }
JMLR_HD constexpr uint32_t fragment_column(uint32_t t, uint32_t i) { return (i >> 2) * 8 + t % 4 * 2 + (i & 1u); }

// Row tiles are visited in an order that any prefix of spreads evenly over the index (steps of about the golden ratio),
// so that floors from the first tiles hold for the rest whatever order the rows were stored in.
struct Order {
  uint32_t tiles, step;
  JMLR_HD uint32_t tile_at(uint32_t position) const {
    return static_cast<uint32_t>(static_cast<uint64_t>(position) * step % tiles);
  }
};
inline Order order_of(uint32_t tiles) {
  auto step = static_cast<uint32_t>(static_cast<double>(tiles) * 0.6180339887498949);
  while (step > 1 && std::gcd(tiles, step) != 1) --step;
  return {tiles, most(step, uint32_t{1})};
}

// Candidates that a query's list holds, and how many times the rows seen so far the next phase may visit. A phase
// nominates about growth * widening * k rows, beside the widening * k that the last one left.
struct Plan {
  uint32_t capacity, growth, batch;
};
inline Plan plan_of(Storage storage, uint32_t k) {
  const uint32_t widening = storage == Storage::float32 ? 1 : storage == Storage::bfloat16 ? 2 : 5;
  const uint32_t capacity = round_to(most(uint32_t{4096}, 4 * widening * k), kTileRows);
  const uint32_t growth = most(uint32_t{1}, least(uint32_t{9}, capacity / (2 * widening * most(k, uint32_t{1}))) - 1);
  const auto fit = static_cast<uint32_t>(kCandidateBytes / (12 * static_cast<size_t>(capacity)));
  return {capacity, growth, least(kBatch, round_to(most(fit, uint32_t{256}), uint32_t{256}))};
}

// Positions [first, last) of the order. The first phase has no floor and keeps every row in its own place.
struct Phase {
  uint32_t first, last;
  bool dense;
};
inline Phase next_phase(const Plan& plan, const Order& order, uint32_t seen) {
  if (seen == 0) return {0, least(order.tiles, plan.capacity / kTileRows), true};
  return {seen, static_cast<uint32_t>(least<uint64_t>(order.tiles, uint64_t{seen} * (1 + plan.growth))), false};
}

// Hands out pieces of one block of memory; with a null base it only counts.
class Arena {
 public:
  explicit Arena(void* base) : base_(static_cast<uint8_t*>(base)) {}
  template <typename T>
  T* take(size_t count) {
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += round_to(count * sizeof(T), size_t{1024});
    return piece;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* base_;
  size_t used_ = 0;
};

// Above this no score passes; a filter's `score >= threshold` implied by `fl(score + error) >= floor` for all errors
// up to `error`: what rounding can add is taken off. An infinite floor (no such query) passes nothing.
JMLR_HD inline float prefilter(float floor, float error) {
  if (floor == kInfinity) return kInfinity;
  if (floor == -kInfinity) return -kInfinity;
  const float slack = (floor < 0.0f ? -floor : floor) + error;
  return (floor - error) - slack * 0x1p-21f - 0x1p-146f;
}
JMLR_HD inline float error_of(const ErrorBound& bound, float residual, float norm) {
  return bound.residual_weight * residual + bound.norm_weight * norm + bound.constant;
}

// Unsigned keys that order as the scores do; +0 and -0 are the same.
JMLR_HD inline uint32_t score_key(float score) {
  const uint32_t bits = bits_of(score == 0.0f ? 0.0f : score);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
JMLR_HD inline float score_of_key(uint32_t key) {
  if (key < 0x007fffffu) return -kInfinity;  // below all scores: would read as NaN
  return float_of((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

}  // namespace jmlr::cuda
