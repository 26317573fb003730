// What rounds, and by how much at most; shared by the CPU and the GPU. The proofs are in docs/topk.md.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define JMLR_HD __host__ __device__
#else
#define JMLR_HD
#endif

namespace jmlr {

constexpr double kUnit = 0x1p-24;              // unit roundoff of float32
constexpr double kSlack = 1.0 + 0x1p-18;       // pays for the float32 arithmetic done with the bounds themselves
constexpr double kTiny = 0x1p-149;             // least positive float32
constexpr float kLeastScale = 0x1p-126f;       // below this a scale would lose bits: the code is zero, all is residual
constexpr float kLargest = 0x1.fffffep+127f;   // largest finite float32
constexpr float kInfinity = __builtin_inff();  // numeric_limits' functions are not for devices

JMLR_HD inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

JMLR_HD inline float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Least float32 that is certainly not below `value` >= 0, though `value` itself was rounded on its way here.
JMLR_HD inline float round_up(double value) {
  if (value == 0.0) return 0.0f;
  const double raised = value * (1.0 + 0x1p-30);
  if (raised >= static_cast<double>(kLargest)) return kInfinity;
  const auto nearest = static_cast<float>(raised);
  return static_cast<double>(nearest) >= raised ? nearest : float_of(bits_of(nearest) + 1);
}

JMLR_HD inline float from_bfloat16(uint16_t code) { return float_of(static_cast<uint32_t>(code) << 16); }

// Nearest bfloat16, ties to even; zero for what the hardware would read as zero, the largest finite for what would
// round to infinity.
JMLR_HD inline uint16_t to_bfloat16(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t sign = bits & 0x80000000u;
  uint32_t magnitude = bits & 0x7fffffffu;
  magnitude += 0x7fffu + ((magnitude >> 16) & 1u);
  if (magnitude < 0x00800000u) magnitude = 0;
  if (magnitude >= 0x7f800000u) magnitude = 0x7f7f0000u;
  return static_cast<uint16_t>((sign | magnitude) >> 16);
}

// The scale of int8 codes of a row whose largest absolute value is `largest`.
JMLR_HD inline float int8_scale(float largest) {
  const float scale = largest / 127.0f;
  return scale < kLeastScale ? 0.0f : scale;
}

// x ~ scale * digit, digit in -127..127, by `inverse` = 1 / scale, or 0 where the scale is.
JMLR_HD inline double int8_digit(double x, double inverse) {
  const double near = x * inverse;
  const double kept = !(near > -127.0) ? -127.0 : near < 127.0 ? near : 127.0;
  return (kept + 0x1.8p52) -
         0x1.8p52;  // to the nearest integer, ties to even; unlike nearbyint no call, so loops vectorise
}

// |exact - scanned| <= residual_weight * residual(row) + norm_weight * norm(row) + constant.
struct ErrorBound {
  float residual_weight, norm_weight, constant;
};

// How a scan's own arithmetic rounds: at most `relative` * |p| * |y|, and `absolute` where it underflows.
struct Rounding {
  double relative, absolute;
};

// The error of a scan whose query p stands for q (see docs/topk.md, "Bounds"):
// |q.x - fl(p.y)| <= |p| residual(x) + |q - p| norm(x) + relative * |p| (norm(x) + residual(x)) + absolute.
JMLR_HD inline ErrorBound bound_of(Rounding rounding, uint64_t dim, double norm, double code_norm, double residual) {
  const double largest = norm > code_norm ? norm : code_norm;
  // of the bound itself, and of the float64 score
  const double evaluation = (8.0 * kUnit + static_cast<double>(dim) * 0x1p-52) * largest;
  return {round_up((code_norm * (1.0 + rounding.relative) + evaluation) * kSlack + 4.0 * kTiny),
          round_up((residual + code_norm * rounding.relative + evaluation) * kSlack + 4.0 * kTiny),
          round_up(rounding.absolute)};
}

// A sum of `dim` float32 products in any order, fused or not.
JMLR_HD inline Rounding float32_rounding(uint64_t dim) {
  const auto n = static_cast<double>(dim);
  return {1.01 * (n + 8.0) * kUnit, (2.0 * n + 16.0) * kTiny};
}

// The integer products are exact; the rest is a handful of float32 operations.
JMLR_HD inline Rounding int8_rounding() { return {16.0 * kUnit, 16.0 * kTiny}; }

// The error of a MaxSim score: what those of a query's tokens add up to (docs/topk.md, "MaxSim").
struct SumBound {
  double residual = 0.0, norm = 0.0, constant = 0.0;  // weights of the largest residual and norm of the passage's rows

  // What pays for the sums of `tokens` terms in float64.
  JMLR_HD static double slack(uint64_t tokens) { return 1.0 + static_cast<double>(tokens + 8) * 0x1p-29; }
  JMLR_HD void add(const ErrorBound& bound, double slack) {
    residual += slack * static_cast<double>(bound.residual_weight);
    norm += slack * static_cast<double>(bound.norm_weight);
    constant += slack * static_cast<double>(bound.constant);
  }
  JMLR_HD double error(double largest_residual, double largest_norm) const {
    return residual * largest_residual + norm * largest_norm + constant;
  }
};

// False where a float32 scan may overflow; such a query must be scored exactly against every row.
JMLR_HD inline bool scannable(double norm, double max_norm) {
  return norm < 0x1p+100 && max_norm < 0x1p+100 && norm * max_norm < 0x1p+120;
}

}  // namespace jmlr
