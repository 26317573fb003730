// The one loop shape of all SIMD kernels: kRows x kVectors sums stay in registers over the whole of a row.
//
// `Op` says what a unit of 32 bits means: Sum, Query, Row, kLanes, zero(), query(p), row(p), step(sum, row, query),
// store(sum, panel, first lane, row scale, out). A narrow panel wants two units at a time: kUnits = 2. Everything here
// has internal linkage, because each file that includes it is compiled for another instruction set.
#pragma once

#include "../kernel.h"

namespace jmlr {
namespace {

template <class Op, int kRows, int kVectors>
void tile(const QueryPanel& panel, const char* rows, size_t stride, const float* row_scale, float* out) {
  typename Op::Sum sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Op::zero();
  }
  const auto* units = static_cast<const uint32_t*>(panel.units);
  for (size_t u = 0; u < panel.unit_count; u += Op::kUnits) {
    // So many short streams side by side are more than hardware foresees: fetch the rows of the next tile, line by
    // line.
    if (u % 16 == 0) {
      for (int r = 0; r < kRows; ++r) __builtin_prefetch(rows + static_cast<size_t>(kRows + r) * stride + 4 * u);
    }
    typename Op::Query query[kVectors];
    for (int v = 0; v < kVectors; ++v)
      query[v] = Op::query(units + (u / Op::kUnits * kVectors + static_cast<size_t>(v)) * Op::kLanes);
    for (int r = 0; r < kRows; ++r) {
      const typename Op::Row x = Op::row(rows + static_cast<size_t>(r) * stride + 4 * u);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = Op::step(sum[r][v], x, query[v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const size_t lane = static_cast<size_t>(v) * Op::kLanes;
      Op::store(sum[r][v], panel, lane, row_scale != nullptr ? row_scale[r] : 1.0f,
                out + static_cast<size_t>(r) * kVectors * Op::kLanes / Op::kUnits + lane);
    }
  }
}

template <class Op, int kRows, int kVectors>
void tiles(const QueryPanel& panel, const RowBlock& rows, float* out) {
  size_t r = 0;
  const auto take = [&](auto run, size_t taken) {
    for (; r + taken <= rows.count; r += taken) {
      run(panel, static_cast<const char*>(rows.codes) + r * rows.stride, rows.stride,
          rows.scale != nullptr ? rows.scale + r : nullptr, out + r * kVectors * Op::kLanes / Op::kUnits);
    }
  };
  take(tile<Op, kRows, kVectors>, kRows);
  take(tile<Op, 4, kVectors>, 4);
  take(tile<Op, 1, kVectors>, 1);
}

template <class Op, int kRows>
void scan_panel(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width == Op::kLanes) {
    tiles<Op, kRows, 1>(panel, rows, scores);
  } else {
    tiles<Op, kRows, 2>(panel, rows, scores);
  }
}

// The streaming path's int8 score, from the two digits' dot products.
inline float int8_score(const QueryPanel& panel, int32_t high, int32_t low, float row_scale) {
  return (static_cast<float>(high - panel.offset[0]) * panel.scale[0] +
          static_cast<float>(low - panel.low_offset) * panel.low_scale) *
         row_scale;
}

inline const char* row_at(const RowBlock& rows, size_t r) {
  return static_cast<const char*>(rows.codes) + r * rows.stride;
}

inline float read_float(const char* p) {
  float value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline int32_t read_unit(const char* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline int64_t read_two_units(const char* p) {
  int64_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace
}  // namespace jmlr
