// AVX-512 VNNI: int8 by the four-way dot product of unsigned row codes and signed query codes, exact in int32.
#include <immintrin.h>

#include "narrow512.h"

namespace jmlr::avx512vnni {
namespace {

struct Int8 {
  using Sum = __m512i;
  using Query = __m512i;
  using Row = __m512i;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Query query(const uint32_t* p) { return _mm512_load_si512(p); }
  static Row spread(__m512i units) { return units; }
  static Row row(const char* p) { return _mm512_set1_epi32(read_unit(p)); }
  // By hand: around the intrinsic gcc 12 copies every sum to another register and back, or spills it (half the speed).
  static Sum step(Sum sum, Row x, Query q) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(q));
    return sum;
  }
  static void store(Sum sum, const QueryPanel& panel, size_t lane, float row_scale, float* out) {
    const __m512i dot = _mm512_sub_epi32(sum, _mm512_loadu_si512(panel.offset + lane));
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_loadu_ps(panel.scale + lane));
    _mm512_store_ps(out, _mm512_mul_ps(scaled, _mm512_set1_ps(row_scale)));
  }
};

// Four vectors of sums to the four sums.
__m128i add_lanes(const __m512i* sum) {
  const __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
  const __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
  const __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// One query, four rows side by side: their sums are added across lanes together, which costs more than the products.
void scan_four(const QueryPanel& panel, const RowBlock& rows, size_t r, float* scores) {
  const auto* first = static_cast<const char*>(panel.units);
  const auto* second = static_cast<const char*>(panel.low);
  const char* row = row_at(rows, r);
  __m512i high[4], low[4];
  for (int i = 0; i < 4; ++i) high[i] = low[i] = _mm512_setzero_si512();
  for (size_t d = 0; d < 4 * panel.unit_count; d += 64) {
    const __m512i q = _mm512_load_si512(first + d);
    const __m512i p = _mm512_load_si512(second + d);
    for (size_t i = 0; i < 4; ++i) {
      __builtin_prefetch(row + (i + 4) * rows.stride + d);
      const __m512i x = _mm512_loadu_si512(row + i * rows.stride + d);
      high[i] = _mm512_dpbusd_epi32(high[i], x, q);
      low[i] = _mm512_dpbusd_epi32(low[i], x, p);
    }
  }
  const __m128i coarse = _mm_sub_epi32(add_lanes(high), _mm_set1_epi32(panel.offset[0]));
  const __m128i fine = _mm_sub_epi32(add_lanes(low), _mm_set1_epi32(panel.low_offset));
  const __m128 score = _mm_add_ps(_mm_mul_ps(_mm_cvtepi32_ps(coarse), _mm_set1_ps(panel.scale[0])),
                                  _mm_mul_ps(_mm_cvtepi32_ps(fine), _mm_set1_ps(panel.low_scale)));
  _mm_storeu_ps(scores + r, _mm_mul_ps(score, _mm_loadu_ps(rows.scale + r)));
}

void scan(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel_or_narrow<Int8, 12>(panel, rows, scores);
  const auto* first = static_cast<const char*>(panel.units);
  const auto* second = static_cast<const char*>(panel.low);
  size_t r = 0;
  for (; r + 4 <= rows.count; r += 4) scan_four(panel, rows, r, scores);
  for (; r < rows.count; ++r) {
    const char* row = row_at(rows, r);
    __m512i high = _mm512_setzero_si512();
    __m512i low = _mm512_setzero_si512();
    for (size_t d = 0; d < 4 * panel.unit_count; d += 64) {  // rows are padded to 64 bytes
      const __m512i x = _mm512_loadu_si512(row + d);
      high = _mm512_dpbusd_epi32(high, x, _mm512_load_si512(first + d));
      low = _mm512_dpbusd_epi32(low, x, _mm512_load_si512(second + d));
    }
    scores[r] = int8_score(panel, _mm512_reduce_add_epi32(high), _mm512_reduce_add_epi32(low), rows.scale[r]);
  }
}

// Four pairs side by side; the last again where there are fewer.
void add_second(const SecondDigits* pairs, size_t count, float* scores) {
  for (size_t n = 0; n < count; n += 4) {
    const char *row[4], *query[4];
    __m512i sum[4];
    alignas(16) int32_t dot[4];
    for (size_t i = 0; i < 4; ++i) {
      const SecondDigits& pair = pairs[n + i < count ? n + i : count - 1];
      row[i] = static_cast<const char*>(pair.codes);
      query[i] = static_cast<const char*>(pair.query->low);
      sum[i] = _mm512_setzero_si512();
    }
    for (size_t d = 0; d < 4 * pairs->query->unit_count; d += 64) {
      for (size_t i = 0; i < 4; ++i) {
        sum[i] = _mm512_dpbusd_epi32(sum[i], _mm512_loadu_si512(row[i] + d), _mm512_load_si512(query[i] + d));
      }
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(dot), add_lanes(sum));
    for (size_t i = 0; i < 4 && n + i < count; ++i) {
      const QueryPanel& panel = *pairs[n + i].query;
      scores[n + i] += static_cast<float>(dot[i] - panel.low_offset) * panel.low_scale * pairs[n + i].scale;
    }
  }
}

}  // namespace

Kernel int8_kernel() { return {"avx512vnni", Int8::kLanes, scan, true, nullptr, add_second}; }

}  // namespace jmlr::avx512vnni
