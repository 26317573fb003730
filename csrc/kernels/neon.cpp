// NEON, as every aarch64 has it: float32 by FMA, bfloat16 widened to float32, int8 by widening 16-bit multiply-add.
#include <arm_neon.h>

#include "tile.h"

namespace jmlr::neon {
namespace {

constexpr size_t kLanes = 4;

struct Float32 {
  using Sum = float32x4_t;
  using Query = float32x4_t;
  using Row = float32x4_t;
  static constexpr size_t kLanes = 4;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return vdupq_n_f32(0.0f); }
  static Query query(const uint32_t* p) { return vreinterpretq_f32_u32(vld1q_u32(p)); }
  static Row row(const char* p) { return vdupq_n_f32(read_float(p)); }
  static Sum step(Sum sum, Row x, Query q) { return vfmaq_f32(sum, x, q); }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { vst1q_f32(out, sum); }
};

struct Bfloat16 {
  struct Pair {
    float32x4_t even, odd;
  };
  using Sum = float32x4_t;
  using Query = Pair;
  using Row = Pair;
  static constexpr size_t kLanes = 4;
  static constexpr size_t kUnits = 1;
  static Pair split(uint32x4_t x) {
    return {vreinterpretq_f32_u32(vshlq_n_u32(x, 16)), vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff0000u)))};
  }
  static Sum zero() { return vdupq_n_f32(0.0f); }
  static Query query(const uint32_t* p) { return split(vld1q_u32(p)); }
  static Row row(const char* p) { return split(vdupq_n_u32(static_cast<uint32_t>(read_unit(p)))); }
  static Sum step(Sum sum, Row x, Query q) { return vfmaq_f32(vfmaq_f32(sum, x.even, q.even), x.odd, q.odd); }
  static void store(Sum sum, const QueryPanel&, size_t, float, float* out) { vst1q_f32(out, sum); }
};

struct Int8 {
  struct Pair {
    int16x8_t low, high;  // of two lanes each
  };
  using Sum = int32x4_t;
  using Query = Pair;
  using Row = int16x8_t;
  static constexpr size_t kLanes = 4;
  static constexpr size_t kUnits = 1;
  static Sum zero() { return vdupq_n_s32(0); }
  static Query query(const uint32_t* p) {
    const int8x16_t q = vreinterpretq_s8_u32(vld1q_u32(p));
    return {vmovl_s8(vget_low_s8(q)), vmovl_s8(vget_high_s8(q))};
  }
  static Row row(const char* p) {
    return vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(static_cast<uint32_t>(read_unit(p))))));
  }
  static Sum step(Sum sum, Row x, Query q) {
    const int32x4_t a = vmull_s16(vget_low_s16(x), vget_low_s16(q.low));
    const int32x4_t b = vmull_high_s16(x, q.low);
    const int32x4_t c = vmull_s16(vget_low_s16(x), vget_low_s16(q.high));
    const int32x4_t d = vmull_high_s16(x, q.high);
    return vaddq_s32(sum, vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)));
  }
  static void store(Sum sum, const QueryPanel& panel, size_t lane, float row_scale, float* out) {
    const int32x4_t dot = vsubq_s32(sum, vld1q_s32(panel.offset + lane));
    vst1q_f32(out, vmulq_n_f32(vmulq_f32(vcvtq_f32_s32(dot), vld1q_f32(panel.scale + lane)), row_scale));
  }
};

void scan_float32(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Float32, 8>(panel, rows, scores);
  const auto* query = static_cast<const float*>(panel.units);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const float*>(row_at(rows, r));
    float32x4_t sum[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
    size_t u = 0;
    for (; u + 8 <= panel.unit_count; u += 8) {
      sum[0] = vfmaq_f32(sum[0], vld1q_f32(row + u), vld1q_f32(query + u));
      sum[1] = vfmaq_f32(sum[1], vld1q_f32(row + u + 4), vld1q_f32(query + u + 4));
    }
    float total = vaddvq_f32(vaddq_f32(sum[0], sum[1]));
    for (; u < panel.unit_count; ++u) total += row[u] * query[u];
    scores[r] = total;
  }
}

void scan_bfloat16(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Bfloat16, 4>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const uint16_t*>(row_at(rows, r));
    float32x4_t sum = vdupq_n_f32(0.0f);
    for (size_t d = 0; d < 2 * panel.unit_count; d += 4) {
      const float32x4_t x = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(row + d), 16));
      sum = vfmaq_f32(sum, x, vld1q_f32(panel.exact + d));
    }
    scores[r] = vaddvq_f32(sum);
  }
}

int32x4_t madd_int8(int32x4_t sum, const char* row, const char* query) {
  const int16x8_t x = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(reinterpret_cast<const uint8_t*>(row))));
  const int16x8_t q = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(query)));
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(x), vget_low_s16(q)), x, q);
}

void scan_int8(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  if (panel.width != 1) return scan_panel<Int8, 4>(panel, rows, scores);
  for (size_t r = 0; r < rows.count; ++r) {
    int32x4_t high = vdupq_n_s32(0);
    int32x4_t low = vdupq_n_s32(0);
    for (size_t d = 0; d < 4 * panel.unit_count; d += 8) {
      high = madd_int8(high, row_at(rows, r) + d, static_cast<const char*>(panel.units) + d);
      low = madd_int8(low, row_at(rows, r) + d, static_cast<const char*>(panel.low) + d);
    }
    scores[r] = int8_score(panel, vaddvq_s32(high), vaddvq_s32(low), rows.scale[r]);
  }
}

}  // namespace

Kernels kernels() {
  const Kernels plain = scalar::kernels();
  return {{{"neon", kLanes, scan_float32}, {"neon", kLanes, scan_bfloat16}, {"neon", kLanes, scan_int8}},
          plain.filter,
          plain.rescore,
          plain.max_dots,
          plain.raise,
          plain.lift};
}

}  // namespace jmlr::neon
