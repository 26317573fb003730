// Narrow panels for AVX-512: up to eight queries, two units of each side by side, so that no lane is idle. A row is
// read by pairs of units (one 64-bit broadcast), and at the end the two sums of a query are added.
//
// `Op` has, beside what tile.h wants: spread(vector of units) -> Row.
#pragma once

#include <immintrin.h>

#include "tile.h"

namespace jmlr {
namespace {

inline __m256 add_neighbours(__m512 sum) {
  const __m512 added = _mm512_add_ps(sum, _mm512_permute_ps(sum, 0xb1));
  return _mm256_castsi256_ps(_mm512_cvtepi64_epi32(_mm512_castps_si512(added)));
}

inline __m256i add_neighbours(__m512i sum) {
  return _mm512_cvtepi64_epi32(_mm512_add_epi32(sum, _mm512_srli_epi64(sum, 32)));
}

template <class Op>
struct Narrow : Op {
  static constexpr size_t kUnits = 2;
  static typename Op::Row row(const char* p) { return Op::spread(_mm512_set1_epi64(read_two_units(p))); }
  static void store(__m512 sum, const QueryPanel&, size_t, float, float* out) {
    _mm256_store_ps(out, add_neighbours(sum));
  }
  static void store(__m512i sum, const QueryPanel& panel, size_t, float row_scale, float* out) {
    const auto* offset = reinterpret_cast<const __m256i*>(panel.offset);
    const __m256i dot = _mm256_sub_epi32(add_neighbours(sum), _mm256_loadu_si256(offset));
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_loadu_ps(panel.scale));
    _mm256_store_ps(out, _mm256_mul_ps(scaled, _mm256_set1_ps(row_scale)));
  }
};

template <class Op, int kRows>
void scan_panel_or_narrow(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width == Op::kLanes / 2) {
    tiles<Narrow<Op>, kRows, 1>(panel, rows, scores);
  } else {
    scan_panel<Op, kRows>(panel, rows, scores);
  }
}

}  // namespace
}  // namespace jmlr
