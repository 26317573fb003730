// AVX-512 F, BW, DQ, VL: float32 by FMA, bfloat16 widened to float32, int8 by 16-bit multiply-add.
//
// This file is compiled for AVX-512, so nothing in it may be an inline function that other files share: the linker
// could keep this copy of it for all of them. Hence no standard library beyond C headers.
#include <immintrin.h>

#include "narrow512.h"

namespace jmlr::avx512 {
namespace {

constexpr size_t kLanes = 16;

struct Float32 {
  using Sum = __m512;
  using Query = __m512;
  using Row = __m512;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Query query(const uint32_t* p) { return _mm512_load_ps(p); }
  static Row spread(__m512i units) { return _mm512_castsi512_ps(units); }
  static Row row(const char* p) { return _mm512_set1_ps(read_float(p)); }
  static Sum step(Sum sum, Row x, Query q) { return _mm512_fmadd_ps(x, q, sum); }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { _mm512_store_ps(out, sum); }
};

struct Pair {
  __m512i even, odd;
};

struct Bfloat16 {
  using Sum = __m512;
  using Query = Pair;
  using Row = Pair;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kUnits = 1;
  static Pair split(__m512i x) {
    return {_mm512_slli_epi32(x, 16), _mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000u)))};
  }
  static Sum zero() { return _mm512_setzero_ps(); }
  static Query query(const uint32_t* p) { return split(_mm512_load_si512(p)); }
  static Row spread(__m512i units) { return split(units); }
  static Row row(const char* p) { return spread(_mm512_set1_epi32(read_unit(p))); }
  static Sum step(Sum sum, Row x, Query q) {
    sum = _mm512_fmadd_ps(_mm512_castsi512_ps(x.even), _mm512_castsi512_ps(q.even), sum);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x.odd), _mm512_castsi512_ps(q.odd), sum);
  }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { _mm512_store_ps(out, sum); }
};

struct Int8 {
  using Sum = __m512i;
  using Query = Pair;
  using Row = Pair;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Query query(const uint32_t* p) {
    const __m512i q = _mm512_load_si512(p);
    return {_mm512_srai_epi16(_mm512_slli_epi16(q, 8), 8), _mm512_srai_epi16(q, 8)};
  }
  static Row spread(__m512i x) { return {_mm512_and_si512(x, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(x, 8)}; }
  static Row row(const char* p) { return spread(_mm512_set1_epi32(read_unit(p))); }
  static Sum step(Sum sum, Row x, Query q) {
    return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_madd_epi16(x.even, q.even), _mm512_madd_epi16(x.odd, q.odd)));
  }
  static void store(Sum sum, const QueryPanel& panel, size_t lane, float row_scale, float* out) {
    const __m512i dot = _mm512_sub_epi32(sum, _mm512_loadu_si512(panel.offset + lane));
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_loadu_ps(panel.scale + lane));
    _mm512_store_ps(out, _mm512_mul_ps(scaled, _mm512_set1_ps(row_scale)));
  }
};

float dot_float32(const float* query, const float* row, size_t units) {
  __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  size_t u = 0;
  for (; u + 64 <= units; u += 64) {
    for (size_t v = 0; v < 4; ++v) {
      sum[v] = _mm512_fmadd_ps(_mm512_loadu_ps(row + u + 16 * v), _mm512_loadu_ps(query + u + 16 * v), sum[v]);
    }
  }
  for (; u < units; u += 16) {
    const auto mask = static_cast<__mmask16>(units - u >= 16 ? 0xffffu : (1u << (units - u)) - 1u);
    sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, row + u), _mm512_maskz_loadu_ps(mask, query + u), sum[0]);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

void scan_float32(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel_or_narrow<Float32, 12>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const float*>(row_at(rows, r));
    scores[r] = dot_float32(static_cast<const float*>(panel.units), row, panel.unit_count);
  }
}

void scan_bfloat16(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel_or_narrow<Bfloat16, 8>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    const char* row = row_at(rows, r);
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t d = 0; d < 2 * panel.unit_count; d += 32) {  // rows are padded to 64 bytes
      for (size_t v = 0; v < 2; ++v) {
        const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * (d + 16 * v)));
        const __m512 x = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16));
        sum[v] = _mm512_fmadd_ps(x, _mm512_loadu_ps(panel.exact + d + 16 * v), sum[v]);
      }
    }
    scores[r] = _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
  }
}

__m512i madd_int8(__m512i sum, const char* row, const char* query) {
  const __m512i x = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row)));
  const __m512i q = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(query)));
  return _mm512_add_epi32(sum, _mm512_madd_epi16(x, q));
}

void scan_int8(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel_or_narrow<Int8, 8>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    __m512i high = _mm512_setzero_si512();
    __m512i low = _mm512_setzero_si512();
    for (size_t d = 0; d < 4 * panel.unit_count; d += 32) {
      high = madd_int8(high, row_at(rows, r) + d, static_cast<const char*>(panel.units) + d);
      low = madd_int8(low, row_at(rows, r) + d, static_cast<const char*>(panel.low) + d);
    }
    scores[r] = int8_score(panel, _mm512_reduce_add_epi32(high), _mm512_reduce_add_epi32(low), rows.scale[r]);
  }
}

// A panel's tile: u, v and the floor of all its queries stay in registers.
template <size_t kVectors>
size_t filter_tile(const FilterTerms& t, Hit* hits) {
  __m512 u[kVectors], v[kVectors], floor[kVectors];
  for (size_t p = 0; p < kVectors; ++p) {
    u[p] = _mm512_loadu_ps(t.u + p * kLanes);
    v[p] = _mm512_loadu_ps(t.v + p * kLanes);
    floor[p] = _mm512_loadu_ps(t.floor_j + p * kLanes);
  }
  size_t count = 0;
  for (size_t i = 0; i < t.ni; ++i) {
    const __m512 a = _mm512_set1_ps(t.a[i]);
    const __m512 b = _mm512_set1_ps(t.b[i]);
    uint32_t mask = 0;
    for (size_t p = 0; p < kVectors; ++p) {
      __m512 upper = _mm512_loadu_ps(t.scores + (i * kVectors + p) * kLanes);
      upper = _mm512_fmadd_ps(b, v[p], _mm512_fmadd_ps(a, u[p], upper));
      mask |= static_cast<uint32_t>(_mm512_cmp_ps_mask(upper, floor[p], _CMP_NLT_UQ)) << (p * kLanes);
    }
    for (; mask != 0; mask &= mask - 1) {
      hits[count++] = {static_cast<uint32_t>(i), static_cast<uint32_t>(__builtin_ctz(mask))};
    }
  }
  return count;
}

size_t filter(const FilterTerms& t, Hit* hits) {
  if (t.floor_j != nullptr && t.nj == kLanes) return filter_tile<1>(t, hits);
  if (t.floor_j != nullptr && t.nj == 2 * kLanes) return filter_tile<2>(t, hits);
  size_t count = 0;
  for (size_t i = 0; i < t.ni; ++i) {
    const __m512 a = _mm512_set1_ps(t.a[i]);
    const __m512 b = _mm512_set1_ps(t.b[i]);
    const __m512 floor_i = _mm512_set1_ps(t.floor_i != nullptr ? t.floor_i[i] : 0.0f);
    for (size_t j = 0; j < t.nj; j += kLanes) {
      const auto lanes = static_cast<__mmask16>(t.nj - j >= kLanes ? 0xffffu : (1u << (t.nj - j)) - 1u);
      __m512 upper = _mm512_maskz_loadu_ps(lanes, t.scores + i * t.nj + j);
      upper = _mm512_fmadd_ps(a, _mm512_maskz_loadu_ps(lanes, t.u + j), upper);
      upper = _mm512_fmadd_ps(b, _mm512_maskz_loadu_ps(lanes, t.v + j), upper);
      const __m512 floor = t.floor_j != nullptr ? _mm512_maskz_loadu_ps(lanes, t.floor_j + j) : floor_i;
      unsigned mask = _mm512_mask_cmp_ps_mask(lanes, upper, floor, _CMP_NLT_UQ);
      for (; mask != 0; mask &= mask - 1) {
        hits[count++] = {static_cast<uint32_t>(i),
                         static_cast<uint32_t>(j) + static_cast<uint32_t>(__builtin_ctz(mask))};
      }
    }
  }
  return count;
}

// Eight rows at a time, one per lane: each lane adds in index order, as the contract has it. The rows are strewn over
// memory, so those of the next eight are fetched meanwhile.
void rescore_eight(const float* query, const float* const* rows, const float* const* next, size_t dim, float* out) {
  constexpr size_t kAhead =
      256;  // values of a row: of eight rows 8 KiB, so that they are still in L1 when they are due
  __m512d sum = _mm512_setzero_pd();
  size_t d = 0;
  for (; d + 8 <= dim; d += 8) {
    if (d % 16 == 0) {
      const bool within = d + kAhead < dim;
      for (int i = 0; i < 8; ++i) __builtin_prefetch(within ? rows[i] + d + kAhead : next[i] + (d + kAhead - dim));
    }
    // The query's values go through memory (compilers know better), so that each is spread by a load: the unit that
    // moves values between lanes has enough to do.
    alignas(64) double q[8];
    _mm512_store_pd(q, _mm512_cvtps_pd(_mm256_loadu_ps(query + d)));
    asm("" : "+m"(q));
    for (int half = 0; half < 2; ++half) {
      __m256 x[4];  // of rows i and i + 4
      for (int i = 0; i < 4; ++i) {
        const size_t at = d + 4 * static_cast<size_t>(half);
        x[i] =
            _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i] + at)), _mm_loadu_ps(rows[i + 4] + at), 1);
      }
      const __m256 a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpackhi_ps(x[0], x[1]);
      const __m256 c = _mm256_unpacklo_ps(x[2], x[3]), e = _mm256_unpackhi_ps(x[2], x[3]);
      const __m256 column[4] = {_mm256_shuffle_ps(a, c, 0x44), _mm256_shuffle_ps(a, c, 0xee),
                                _mm256_shuffle_ps(b, e, 0x44), _mm256_shuffle_ps(b, e, 0xee)};
      for (int i = 0; i < 4; ++i) {
        sum = _mm512_fmadd_pd(_mm512_cvtps_pd(column[i]), _mm512_set1_pd(q[4 * half + i]), sum);
      }
    }
  }
  for (; d < dim; ++d) {
    const __m256 x =
        _mm256_setr_ps(rows[0][d], rows[1][d], rows[2][d], rows[3][d], rows[4][d], rows[5][d], rows[6][d], rows[7][d]);
    sum = _mm512_fmadd_pd(_mm512_cvtps_pd(x), _mm512_set1_pd(static_cast<double>(query[d])), sum);
  }
  _mm256_storeu_ps(out, _mm512_cvtpd_ps(sum));
}

void rescore(const float* query, const float* const* rows, size_t count, size_t dim, float* out) {
  for (size_t n = 0; n < count; n += 8) {
    const float* eight[8];
    const float* next[8];
    float scores[8];
    for (size_t i = 0; i < 8; ++i) {
      eight[i] = rows[n + i < count ? n + i : n];
      next[i] = rows[n + 8 + i < count ? n + 8 + i : n];
    }
    rescore_eight(query, eight, next, dim, scores);
    for (size_t i = 0; i < 8 && n + i < count; ++i) out[n + i] = scores[i];
  }
}

// Eight tokens in a vector: each lane adds in index order, as the contract has it. A product of two float32 is exact in
// float64, so that fusing it with the addition changes nothing. Four rows at a time; the last again where there are
// fewer.
template <size_t kVectors>
void max_dots_block(const double* tokens, size_t width, const float* rows, size_t count, size_t dim, double* best) {
  __m512d top[kVectors];
  for (size_t v = 0; v < kVectors; ++v) top[v] = _mm512_loadu_pd(best + 8 * v);
  for (size_t n = 0; n < count; n += 4) {
    const float* row[4];
    __m512d sum[4][kVectors];
    for (size_t r = 0; r < 4; ++r) {
      row[r] = rows + (n + r < count ? n + r : count - 1) * dim;
      for (size_t v = 0; v < kVectors; ++v) sum[r][v] = _mm512_setzero_pd();
    }
    for (size_t d = 0; d < dim; ++d) {
      __m512d token[kVectors];
      for (size_t v = 0; v < kVectors; ++v) token[v] = _mm512_load_pd(tokens + d * width + 8 * v);
      for (size_t r = 0; r < 4; ++r) {
        const __m512d x = _mm512_set1_pd(static_cast<double>(row[r][d]));
        for (size_t v = 0; v < kVectors; ++v) sum[r][v] = _mm512_fmadd_pd(x, token[v], sum[r][v]);
      }
    }
    for (size_t r = 0; r < 4; ++r) {
      for (size_t v = 0; v < kVectors; ++v) top[v] = _mm512_max_pd(top[v], sum[r][v]);
    }
  }
  for (size_t v = 0; v < kVectors; ++v) _mm512_storeu_pd(best + 8 * v, top[v]);
}

void max_dots(const double* tokens, size_t width, const float* rows, size_t count, size_t dim, double* best) {
  size_t t = 0;
  for (; t + 32 <= width; t += 32) max_dots_block<4>(tokens + t, width, rows, count, dim, best + t);
  for (; t < width; t += 8) max_dots_block<1>(tokens + t, width, rows, count, dim, best + t);
}

// Odd and even rows apart, since each maximum waits for the one before.
template <size_t kVectors>
void raise_panel(const float* scores, size_t rows, float* peaks) {
  __m512 top[2][kVectors];
  for (size_t v = 0; v < kVectors; ++v) top[0][v] = top[1][v] = _mm512_loadu_ps(peaks + kLanes * v);
  for (size_t r = 0; r < rows; r += 2) {
    for (size_t i = 0; i < 2; ++i) {
      const float* row = scores + (r + i < rows ? r + i : r) * kVectors * kLanes;
      for (size_t v = 0; v < kVectors; ++v) top[i][v] = _mm512_max_ps(_mm512_loadu_ps(row + kLanes * v), top[i][v]);
    }
  }
  for (size_t v = 0; v < kVectors; ++v) _mm512_storeu_ps(peaks + kLanes * v, _mm512_max_ps(top[0][v], top[1][v]));
}

void raise_narrow(const float* scores, size_t rows, float* peaks) {
  __m256 top = _mm256_loadu_ps(peaks);
  for (size_t r = 0; r < rows; ++r) top = _mm256_max_ps(_mm256_loadu_ps(scores + r * kLanes / 2), top);
  _mm256_storeu_ps(peaks, top);
}

void raise(const float* scores, size_t rows, size_t width, float* peaks) {
  if (width == kLanes / 2) {
    raise_narrow(scores, rows, peaks);
  } else if (width == kLanes) {
    raise_panel<1>(scores, rows, peaks);
  } else {
    raise_panel<2>(scores, rows, peaks);
  }
}

// As in scalar.cpp: by integers.
void lift(const float* rows, size_t count, float* out) {
  for (size_t i = 0; i < count; i += kLanes) {
    const auto lanes = static_cast<__mmask16>(count - i >= kLanes ? 0xffffu : (1u << (count - i)) - 1u);
    const __m512i bits = _mm512_maskz_loadu_epi32(lanes, rows + i);
    const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
    const __m512i normal = _mm512_add_epi32(magnitude, _mm512_set1_epi32(100 << 23));
    const __m512 subnormal = _mm512_mul_ps(_mm512_cvtepi32_ps(magnitude), _mm512_set1_ps(0x1p-49f));
    const __mmask16 small = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x00800000));
    const __m512i lifted = _mm512_mask_mov_epi32(normal, small, _mm512_castps_si512(subnormal));
    _mm512_mask_storeu_epi32(out + i, lanes, _mm512_or_si512(lifted, _mm512_xor_si512(bits, magnitude)));
  }
}

}  // namespace

Kernels kernels() {
  return {{{"avx512", kLanes, scan_float32, true},
           {"avx512", kLanes, scan_bfloat16, true},
           {"avx512", kLanes, scan_int8, true}},
          filter,
          rescore,
          max_dots,
          raise,
          lift};
}

}  // namespace jmlr::avx512
