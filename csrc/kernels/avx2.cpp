// AVX2 and FMA: float32 by FMA, bfloat16 widened to float32, int8 by 16-bit multiply-add. See avx512.cpp on inlining.
#include <immintrin.h>

#include "tile.h"

namespace jmlr::avx2 {
namespace {

constexpr size_t kLanes = 8;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

struct Float32 {
  using Sum = __m256;
  using Query = __m256;
  using Row = __m256;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm256_setzero_ps(); }
  static Query query(const uint32_t* p) { return _mm256_castsi256_ps(load(p)); }
  static Row row(const char* p) { return _mm256_set1_ps(read_float(p)); }
  static Sum step(Sum sum, Row x, Query q) { return _mm256_fmadd_ps(x, q, sum); }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { _mm256_storeu_ps(out, sum); }
};

struct Pair {
  __m256i even, odd;
};

struct Bfloat16 {
  using Sum = __m256;
  using Query = Pair;
  using Row = Pair;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kUnits = 1;
  static Pair split(__m256i x) {
    return {_mm256_slli_epi32(x, 16), _mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(0xffff0000u)))};
  }
  static Sum zero() { return _mm256_setzero_ps(); }
  static Query query(const uint32_t* p) { return split(load(p)); }
  static Row row(const char* p) { return split(_mm256_set1_epi32(read_unit(p))); }
  static Sum step(Sum sum, Row x, Query q) {
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(x.even), _mm256_castsi256_ps(q.even), sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x.odd), _mm256_castsi256_ps(q.odd), sum);
  }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { _mm256_storeu_ps(out, sum); }
};

struct Int8 {
  using Sum = __m256i;
  using Query = Pair;
  using Row = Pair;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Query query(const uint32_t* p) {
    const __m256i q = load(p);
    return {_mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8), _mm256_srai_epi16(q, 8)};
  }
  static Row row(const char* p) {
    const __m256i x = _mm256_set1_epi32(read_unit(p));
    return {_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(x, 8)};
  }
  static Sum step(Sum sum, Row x, Query q) {
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(x.even, q.even), _mm256_madd_epi16(x.odd, q.odd)));
  }
  static void store(Sum sum, const QueryPanel& panel, size_t lane, float row_scale, float* out) {
    const __m256i dot = _mm256_sub_epi32(sum, load(panel.offset + lane));
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_loadu_ps(panel.scale + lane));
    _mm256_storeu_ps(out, _mm256_mul_ps(scaled, _mm256_set1_ps(row_scale)));
  }
};

float sum_of(__m256 x) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

int32_t sum_of(__m256i x) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

void scan_float32(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Float32, 6>(panel, rows, scores);
  const auto* query = static_cast<const float*>(panel.units);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const float*>(row_at(rows, r));
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t u = 0;
    for (; u + 32 <= panel.unit_count; u += 32) {
      for (size_t v = 0; v < 4; ++v) {
        sum[v] = _mm256_fmadd_ps(_mm256_loadu_ps(row + u + 8 * v), _mm256_loadu_ps(query + u + 8 * v), sum[v]);
      }
    }
    float total = sum_of(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    for (; u < panel.unit_count; ++u) total += row[u] * query[u];
    scores[r] = total;
  }
}

void scan_bfloat16(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Bfloat16, 4>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    const char* row = row_at(rows, r);
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t d = 0; d < 2 * panel.unit_count; d += 32) {  // rows are padded to 64 bytes
      for (size_t v = 0; v < 4; ++v) {
        const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * (d + 8 * v)));
        const __m256 x = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
        sum[v] = _mm256_fmadd_ps(x, _mm256_loadu_ps(panel.exact + d + 8 * v), sum[v]);
      }
    }
    scores[r] = sum_of(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
  }
}

__m256i madd_int8(__m256i sum, const char* row, const char* query) {
  const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)));
  const __m256i q = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query)));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(x, q));
}

void scan_int8(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Int8, 4>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    __m256i high = _mm256_setzero_si256();
    __m256i low = _mm256_setzero_si256();
    for (size_t d = 0; d < 4 * panel.unit_count; d += 16) {
      high = madd_int8(high, row_at(rows, r) + d, static_cast<const char*>(panel.units) + d);
      low = madd_int8(low, row_at(rows, r) + d, static_cast<const char*>(panel.low) + d);
    }
    scores[r] = int8_score(panel, sum_of(high), sum_of(low), rows.scale[r]);
  }
}

size_t filter(const FilterTerms& t, Hit* hits) {
  size_t count = 0;
  for (size_t i = 0; i < t.ni; ++i) {
    const __m256 a = _mm256_set1_ps(t.a[i]);
    const __m256 b = _mm256_set1_ps(t.b[i]);
    const __m256 floor_i = _mm256_set1_ps(t.floor_i != nullptr ? t.floor_i[i] : 0.0f);
    const float* scores = t.scores + i * t.nj;
    size_t j = 0;
    for (; j + kLanes <= t.nj; j += kLanes) {
      __m256 upper = _mm256_fmadd_ps(a, _mm256_loadu_ps(t.u + j), _mm256_loadu_ps(scores + j));
      upper = _mm256_fmadd_ps(b, _mm256_loadu_ps(t.v + j), upper);
      const __m256 floor = t.floor_j != nullptr ? _mm256_loadu_ps(t.floor_j + j) : floor_i;
      auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(upper, floor, _CMP_NLT_UQ)));
      for (; mask != 0; mask &= mask - 1) {
        hits[count++] = {static_cast<uint32_t>(i),
                         static_cast<uint32_t>(j) + static_cast<uint32_t>(__builtin_ctz(mask))};
      }
    }
    for (; j < t.nj; ++j) {
      const float upper = scores[j] + t.a[i] * t.u[j] + t.b[i] * t.v[j];
      if (!(upper < (t.floor_j != nullptr ? t.floor_j[j] : t.floor_i[i]))) {
        hits[count++] = {static_cast<uint32_t>(i), static_cast<uint32_t>(j)};
      }
    }
  }
  return count;
}

}  // namespace

Kernels kernels() {
  return {{{"avx2", kLanes, scan_float32}, {"avx2", kLanes, scan_bfloat16}, {"avx2", kLanes, scan_int8}},
          filter,
          scalar::kernels().rescore,
          scalar::kernels().max_dots,
          scalar::kernels().raise,
          scalar::kernels().lift};
}

}  // namespace jmlr::avx2
