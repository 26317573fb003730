// AVX-512 BF16: tiles by the bfloat16 dot product. One query streams as in avx512.cpp, at the speed of memory.
#include <immintrin.h>

#include "narrow512.h"

namespace jmlr::avx512bf16 {
namespace {

struct Bfloat16 {
  using Sum = __m512;
  using Query = __m512i;
  using Row = __m512i;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Query query(const uint32_t* p) { return _mm512_load_si512(p); }
  static Row spread(__m512i units) { return units; }
  static Row row(const char* p) { return _mm512_set1_epi32(read_unit(p)); }
  static Sum step(Sum sum, Row x, Query q) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(q));
  }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { _mm512_store_ps(out, sum); }
};

void scan(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width == 1) return avx512::kernels().scan[static_cast<int>(Storage::bfloat16)].scan(panel, rows, scores);
  scan_panel_or_narrow<Bfloat16, 12>(panel, rows, scores);
}

}  // namespace

Kernel bfloat16_kernel() { return {"avx512bf16", Bfloat16::kLanes, scan, true}; }

}  // namespace jmlr::avx512bf16
