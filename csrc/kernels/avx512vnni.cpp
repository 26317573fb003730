// AVX-512 VNNI: int8 by the four-way dot product of unsigned row codes and signed query codes, exact in int32.
#include <immintrin.h>

#include "tile.h"

namespace jmlr::avx512vnni {
namespace {

struct Int8 {
  using Sum = __m512i;
  using Query = __m512i;
  using Row = __m512i;
  static constexpr size_t kLanes = 16;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Query query(const uint32_t* p) { return _mm512_load_si512(p); }
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

void scan(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Int8, 12>(panel, rows, scores);
  const auto* first = static_cast<const char*>(panel.units);
  const auto* second = static_cast<const char*>(panel.low);
  for (size_t r = 0; r < rows.count; ++r) {
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

}  // namespace

Kernel int8_kernel() { return {"avx512vnni", Int8::kLanes, scan}; }

}  // namespace jmlr::avx512vnni
