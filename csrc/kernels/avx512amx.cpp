// AMX: bfloat16 and int8 by 16 x 16 tiles of products. Few queries go as in avx512.cpp and avx512vnni.cpp, at the speed
// of memory.
#include "../kernel.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#include <immintrin.h>

#include "amx.h"

namespace jmlr::avx512amx {
namespace {

// The layout is the processor's: palette 1, then bytes of a row and rows for each tile.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// This thread's tile registers: 0 to 3 hold sums, 4 and 5 rows, 6 and 7 queries. Released as soon as they are done
// with, since what they hold is saved at every switch of threads.
//
// By hand: the intrinsics of gcc 12 do not say that they read memory, so that stores before them may be left out. Here
// whoever configures the registers and whoever stores them says so for all loads, which leaves a loop of loads and
// products free to keep its variables in registers. What is loaded must have been written before the configuration.
class TileRegisters {
 public:
  explicit TileRegisters(size_t rows) {
    TileConfig config;
    for (int t = 0; t < 8; ++t) {
      config.row_bytes[t] = 64;
      config.rows[t] = t < 6 ? static_cast<uint8_t>(rows) : 16;
    }
    asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
  }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  void load(const char* from, size_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile));
  }
  template <int kTile>
  void load_once(const char* from, size_t stride) {  // keeps what is read again in the cache next to the registers
    asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile));
  }
  template <int kTile>
  void store(float* to, size_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSum, int kRow, int kQuery>
  void multiply_bfloat16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRow), "i"(kQuery));
  }
  template <int kSum, int kRow, int kQuery>
  void multiply_int8() {  // rows unsigned, queries signed
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kRow), "i"(kQuery));
  }
};

// With the scales and offsets of all queries in registers.
struct Int8 : TileInt8 {
  template <size_t kWidth>
  static void finish(const QueryPanel& panel, const RowBlock& rows, float* scores) {
    constexpr size_t kLanes = 16, kVectors = kWidth / kLanes;
    __m512 scale[kVectors];
    __m512i offset[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      scale[v] = _mm512_loadu_ps(panel.scale + v * kLanes);
      offset[v] = _mm512_loadu_si512(panel.offset + v * kLanes);
    }
    for (size_t r = 0; r < rows.count; ++r) {
      const __m512 row = _mm512_set1_ps(rows.scale[r]);
      for (size_t v = 0; v < kVectors; ++v, scores += kLanes) {
        const __m512i dot = _mm512_sub_epi32(_mm512_loadu_si512(scores), offset[v]);
        _mm512_storeu_ps(scores, _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale[v]), row));
      }
    }
  }
};

// TileTest, with all that belongs to the queries side by side.
template <class Op, size_t kWidth>
class Test {
 public:
  Test(const QueryPanel& panel, const RowBlock& rows, const FilterTerms& terms)
      : row_scale_(rows.scale), a_(terms.a), b_(terms.b) {
    for (size_t v = 0; v < kVectors; ++v) {
      u_[v] = _mm512_loadu_ps(terms.u + v * kLanes);
      v_[v] = _mm512_loadu_ps(terms.v + v * kLanes);
      floor_[v] = _mm512_loadu_ps(terms.floor_j + v * kLanes);
      scale_[v] = _mm512_loadu_ps(panel.scale + v * kLanes);
      offset_[v] = _mm512_loadu_si512(panel.offset + v * kLanes);
    }
  }
  uint32_t operator()(const float* stored, size_t r) const {
    const __m512 a = _mm512_set1_ps(a_[r]), b = _mm512_set1_ps(b_[r]);
    uint32_t passed = 0;
    for (size_t v = 0; v < kVectors; ++v) {
      __m512 upper = _mm512_loadu_ps(stored + v * kLanes);
      if constexpr (Op::kInteger) {
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_castps_si512(upper), offset_[v]));
        upper = _mm512_mul_ps(_mm512_mul_ps(dot, scale_[v]), _mm512_set1_ps(row_scale_[r]));
      }
      upper = _mm512_fmadd_ps(b, v_[v], _mm512_fmadd_ps(a, u_[v], upper));
      passed |= static_cast<uint32_t>(_mm512_cmp_ps_mask(upper, floor_[v], _CMP_NLT_UQ)) << (v * kLanes);
    }
    return passed;
  }

 private:
  static constexpr size_t kLanes = 16, kVectors = kWidth / kLanes;
  const float* row_scale_;
  const float* a_;
  const float* b_;
  __m512 u_[kVectors], v_[kVectors], floor_[kVectors], scale_[kVectors];
  __m512i offset_[kVectors];
};

void scan_bfloat16(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width < kTileQueries) return avx512::kernels().scan[1].scan(panel, rows, scores);
  scan_tiles<TileRegisters, TileBfloat16>(panel, rows, scores);
}

void scan_int8(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width < kTileQueries) return avx512vnni::int8_kernel().scan(panel, rows, scores);
  scan_tiles<TileRegisters, Int8>(panel, rows, scores);
}

}  // namespace

Kernel bfloat16_kernel() {
  const SieveFn sieve = sieve_tiles<TileRegisters, TileBfloat16, Test>;
  return {"avx512amx", kTileQueries, scan_bfloat16, true, sieve};
}
Kernel int8_kernel() {
  const SieveFn sieve = sieve_tiles<TileRegisters, Int8, Test>;
  return {"avx512amx", kTileQueries, scan_int8, true, sieve, avx512vnni::int8_kernel().add_second};
}

}  // namespace jmlr::avx512amx

#else

namespace jmlr::avx512amx {

Kernel bfloat16_kernel() { return {}; }
Kernel int8_kernel() { return {}; }

}  // namespace jmlr::avx512amx

#endif
