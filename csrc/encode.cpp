#include "encode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "floating_point.h"

namespace jmlr {
namespace {

Loss encode_bfloat16(const float* x, size_t dim, uint16_t* codes) {
  double residual = 0.0;
  double norm = 0.0;
  for (size_t d = 0; d < dim; ++d) {
    codes[d] = to_bfloat16(x[d]);
    const double y = from_bfloat16(codes[d]);
    residual += (x[d] - y) * (x[d] - y);
    norm += y * y;
  }
  return {std::sqrt(residual), std::sqrt(norm)};
}

// x[d] ~ scale * digit[d], digits in -127..127; returns the digits' sum in *sum.
Loss encode_int8(const double* x, size_t dim, float scale, int8_t* digits, int32_t* sum) {
  double residual[4] = {};
  double norm[4] = {};
  const auto step = static_cast<double>(scale);
  const double inverse = scale > 0.0f ? 1.0 / step : 0.0;
  *sum = 0;
  const auto encode = [&](size_t d, size_t lane) {
    const double digit = int8_digit(x[d], inverse);
    const double y = digit * step;
    digits[d] = static_cast<int8_t>(digit);
    *sum += static_cast<int32_t>(digit);
    residual[lane] += (x[d] - y) * (x[d] - y);
    norm[lane] += y * y;
  };
  size_t d = 0;
  for (; d + 4 <= dim; d += 4) {
    for (size_t lane = 0; lane < 4; ++lane) encode(d + lane, lane);
  }
  for (; d < dim; ++d) encode(d, 0);
  return {std::sqrt((residual[0] + residual[1]) + (residual[2] + residual[3])),
          std::sqrt((norm[0] + norm[1]) + (norm[2] + norm[3]))};
}

float scale_of(const float* x, size_t dim) {
  int32_t largest = 0;  // by their bits absolute values order as integers do, and those the compiler takes side by side
  for (size_t d = 0; d < dim; ++d) largest = std::max(largest, static_cast<int32_t>(bits_of(x[d]) & 0x7fffffffu));
  return int8_scale(float_of(static_cast<uint32_t>(largest)));
}

size_t padded_units(Storage storage, size_t dim) {
  return storage == Storage::float32 ? dim : code_stride(storage, dim) / 4;
}

Rounding rounding_of(Storage storage, size_t dim) {
  const auto n = static_cast<double>(dim);
  if (storage == Storage::float32) return float32_rounding(dim);                     // but see lost_subnormals
  if (storage == Storage::int8) return {int8_rounding().relative, 16.0 * 0x1p-126};  // where it is flushed to zero
  // bfloat16: the dot-product instruction flushes to zero, and its rounding is not IEEE's everywhere
  return {1.02 * (3.0 * n + 8.0) * 2.0 * kUnit, (4.0 * n + 16.0) * 0x1p-126};
}

// out = x times `factor`, a power of two; returns |x factor - out|, since what would be subnormal becomes zero.
double scale_query(const float* x, size_t dim, double factor, float* out) {
  double lost = 0.0;
  for (size_t d = 0; d < dim; ++d) {
    const double exact = static_cast<double>(x[d]) * factor;
    out[d] = std::fabs(exact) < 0x1p-126 ? 0.0f : static_cast<float>(exact);
    const double difference = exact - static_cast<double>(out[d]);
    lost += difference * difference;
  }
  return std::sqrt(lost);
}

// Of a float32 scan that takes subnormal numbers for zero: its sums lose up to 2^-126 at each of 2 D + 16 steps, and
// what a row's subnormal numbers would have added.
double lost_subnormals(size_t dim, double code_norm) {
  const auto n = static_cast<double>(dim);
  return (2.0 * n + 16.0) * 0x1p-126 + code_norm * std::sqrt(n) * 0x1p-126 * (1.0 + 0x1p-30);
}

}  // namespace

double norm_of(const float* x, size_t dim) {
  double sum[4] = {};
  size_t d = 0;
  for (; d + 4 <= dim; d += 4) {
    for (size_t e = 0; e < 4; ++e) sum[e] += static_cast<double>(x[d + e]) * static_cast<double>(x[d + e]);
  }
  for (; d < dim; ++d) sum[0] += static_cast<double>(x[d]) * static_cast<double>(x[d]);
  return std::sqrt((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

size_t code_stride(Storage storage, size_t dim) {
  const size_t bytes = storage == Storage::float32 ? 0 : storage == Storage::bfloat16 ? 2 * dim : dim;
  return (bytes + 63) / 64 * 64;
}

std::optional<std::pair<size_t, size_t>> first_nonfinite(const float* rows, size_t count, size_t dim) {
  for (size_t r = 0; r < count; ++r) {
    const float* x = rows + r * dim;
    uint32_t bad = 0;  // the exponent of NaN and infinity is all ones; no branch, so that it vectorises
    for (size_t d = 0; d < dim; ++d) {
      uint32_t bits;
      std::memcpy(&bits, x + d, sizeof bits);
      bad |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
    }
    if (bad == 0) continue;
    for (size_t d = 0; d < dim; ++d) {
      if (!std::isfinite(x[d])) return std::make_pair(r, d);
    }
  }
  return std::nullopt;
}

void encode_rows(Storage storage, const float* rows, size_t count, size_t dim, uint8_t* codes, float* scale,
                 float* residual, float* norm) {
  const DefaultFloatingPoint environment;
  const size_t stride = code_stride(storage, dim);
  std::vector<double> wide(storage == Storage::int8 ? dim : 0);
  for (size_t r = 0; r < count; ++r) {
    const float* x = rows + r * dim;
    norm[r] = round_up(norm_of(x, dim));
    if (storage == Storage::bfloat16) {
      auto* row = reinterpret_cast<uint16_t*>(codes + r * stride);
      std::fill(row, row + stride / 2, uint16_t{0});
      residual[r] = round_up(encode_bfloat16(x, dim, row).residual);
    } else if (storage == Storage::int8) {
      auto* row = codes + r * stride;
      std::copy(x, x + dim, wide.begin());
      scale[r] = scale_of(x, dim);
      int32_t sum;
      residual[r] = round_up(encode_int8(wide.data(), dim, scale[r], reinterpret_cast<int8_t*>(row), &sum).residual);
      for (size_t d = 0; d < dim; ++d) row[d] ^= 0x80u;  // biased by 128: the dot product wants one side unsigned
      std::fill(row + dim, row + stride, uint8_t{128});
    }
  }
}

namespace {
constexpr size_t kRowsAtOnce = 256;  // encoded or checked by a thread before it asks for more
constexpr size_t kShared = 64;       // queries: fewer are coded sooner than threads wake
}  // namespace

std::optional<std::pair<size_t, size_t>> first_nonfinite(const float* rows, size_t count, size_t dim, Team& team) {
  std::atomic<size_t> part_found{count};  // the first part that has one begins there
  WorkQueue work(count, kRowsAtOnce);
  team.run([&](size_t me) {
    for (size_t first, last; !team.stopping(me) && work.claim(&first, &last);) {
      if (!first_nonfinite(rows + first * dim, last - first, dim)) continue;
      size_t seen = part_found.load();
      while (first < seen && !part_found.compare_exchange_weak(seen, first)) {
      }
      return;  // what is left of the work comes after
    }
  });
  const size_t first = part_found.load();
  auto found = first_nonfinite(rows + first * dim, std::min(kRowsAtOnce, count - first), dim);
  if (found) found->first += first;
  return found;
}

void encode_rows(Storage storage, const float* rows, size_t count, size_t dim, uint8_t* codes, float* scale,
                 float* residual, float* norm, Team& team) {
  const size_t stride = code_stride(storage, dim);
  WorkQueue work(count, kRowsAtOnce);
  team.run([&](size_t me) {
    for (size_t first, last; !team.stopping(me) && work.claim(&first, &last);) {
      encode_rows(storage, rows + first * dim, last - first, dim, codes + first * stride,
                  storage == Storage::int8 ? scale + first : nullptr,
                  storage == Storage::float32 ? nullptr : residual + first, norm + first);
    }
  });
}

double query_scale(double norm, float max_norm) {
  const auto within = [](double value, double limit) { return value >= 1.0 / limit && value <= limit; };
  if (norm == 0.0 || (within(norm, 0x1p+20) && within(max_norm, 0x1p+30))) return 1.0;
  // |p| |y| is to be 2^80: far from overflow, and of rows much shorter than the longest far from underflow. An infinite
  // norm is of a row of up to 2^136; so much of the range is left to it, and as much to weights of lifted norms.
  const double longest = std::min(static_cast<double>(max_norm), 0x1p+136);
  const int exponent = lifts(max_norm) ? 20 : longest > 1.0 ? std::max(80 - std::ilogb(longest), -30) : 80;
  return std::ldexp(1.0, exponent - std::ilogb(norm));
}

std::vector<double> query_scales(const float* queries, size_t count, size_t dim, float max_norm) {
  std::vector<double> scales(count);
  for (size_t q = 0; q < count; ++q) scales[q] = query_scale(norm_of(queries + q * dim, dim), max_norm);
  return scales;
}

void normalise_rows(float* rows, size_t count, size_t dim, Team& team) {
  WorkQueue work(count, kRowsAtOnce);
  team.run([&](size_t me) {
    for (size_t first, last; !team.stopping(me) && work.claim(&first, &last);) {
      for (float* row = rows + first * dim; row != rows + last * dim; row += dim) {
        double squares = 0.0;
        for (size_t d = 0; d < dim; ++d) squares += static_cast<double>(row[d]) * static_cast<double>(row[d]);
        const double norm = std::sqrt(squares);
        for (size_t d = 0; norm > 0.0 && d < dim; ++d) row[d] = static_cast<float>(static_cast<double>(row[d]) / norm);
      }
    }
  });
}

QueryBlock::QueryBlock(Storage storage, const Kernel& kernel, const float* queries, size_t count, size_t dim,
                       bool streaming, const std::vector<double>& scale, Team* team)
    : queries_(queries), storage_(storage), count_(count), dim_(dim), bounds_(count), zero_(count) {
  const size_t units = padded_units(storage, dim);
  const size_t full = streaming ? 1 : 2 * kernel.lanes;
  size_t slots = 0;  // queries with padding
  for (size_t first = 0; first < count; first += full) {
    const size_t held = std::min(full, count - first);
    const bool narrow = kernel.narrow && units % 2 == 0 && held <= kernel.lanes / 2;
    const size_t width = streaming ? 1 : narrow ? kernel.lanes / 2 : held <= kernel.lanes ? kernel.lanes : full;
    panels_.push_back({first, held, {nullptr, units, width, nullptr, nullptr, nullptr, nullptr, 0.0f, 0}});
    slots += width;
  }
  units_ = AlignedBuffer<uint32_t>(slots * units);
  scale_ = AlignedBuffer<float>(slots);
  offset_ = AlignedBuffer<int32_t>(slots);
  if (streaming && storage == Storage::bfloat16) exact_ = AlignedBuffer<float>(slots * units * 2);
  if (streaming && storage == Storage::int8) low_ = AlignedBuffer<uint32_t>(slots * units);
  WorkQueue work(panels_.size(), 1);
  const auto encode = [&](size_t) {
    for (size_t p, end; work.claim(&p, &end);) encode_panel(panels_[p], p * full, kernel.lanes, streaming, scale);
  };
  if (team != nullptr && count >= kShared) {
    team->run(encode);
  } else {
    encode(0);
  }
}

void QueryBlock::encode_panel(Panel& panel, size_t slot, size_t lanes, bool streaming,
                              const std::vector<double>& scale) {
  const size_t units = panel.view.unit_count, width = panel.view.width;
  uint32_t* const panel_units = units_.data() + slot * units;
  panel.view.units = panel_units;
  panel.view.scale = scale_.data() + slot;
  panel.view.offset = offset_.data() + slot;
  std::fill_n(panel_units, width * units, 0u);
  std::fill_n(scale_.data() + slot, width, 0.0f);
  std::fill_n(offset_.data() + slot, width, 0);
  std::vector<uint32_t> packed(units);
  std::vector<float> scaled(dim_);
  const size_t side_by_side = !streaming && width < lanes ? 2 : 1;
  for (size_t j = 0; j < panel.count; ++j) {
    const size_t q = panel.first + j;
    const double flushed = scale_query(query(q), dim_, scale[q], scaled.data());
    const double norm = norm_of(query(q), dim_) * scale[q];
    zero_[q] = norm == 0.0;
    std::fill(packed.begin(), packed.end(), 0u);
    const auto [residual, code_norm] = encode_query(panel.view, slot + j, scaled.data(), norm, streaming, packed);
    Rounding rounding = rounding_of(storage_, dim_);
    if (storage_ == Storage::float32) rounding.absolute = lost_subnormals(dim_, norm);
    bounds_[q] = bound_of(rounding, dim_, norm, code_norm, residual + flushed);
    for (size_t u = 0; u < units; ++u) {
      const size_t at = u / side_by_side * width + j;
      panel_units[at * side_by_side + u % side_by_side] = packed[u];
    }
  }
}

Loss QueryBlock::encode_query(QueryPanel& view, size_t slot, const float* q, double norm, bool streaming,
                              std::vector<uint32_t>& packed) {
  const size_t units = view.unit_count;
  if (storage_ == Storage::float32) {
    std::memcpy(packed.data(), q, dim_ * sizeof(float));
    return {0.0, norm};
  }
  if (storage_ == Storage::bfloat16) {
    const Loss loss = encode_bfloat16(q, dim_, reinterpret_cast<uint16_t*>(packed.data()));
    if (!streaming) return loss;
    float* const exact = exact_.data() + slot * units * 2;
    std::fill(exact, exact + units * 2, 0.0f);
    std::copy(q, q + dim_, exact);
    view.exact = exact;
    return {0.0, norm};
  }
  std::vector<double> wide(q, q + dim_);
  auto* const digits = reinterpret_cast<int8_t*>(packed.data());
  const float step = scale_of(q, dim_);
  int32_t sum;
  const Loss first = encode_int8(wide.data(), dim_, step, digits, &sum);
  scale_[slot] = step;
  offset_[slot] = 128 * sum;
  if (!streaming) return first;
  for (size_t d = 0; d < dim_; ++d) wide[d] -= static_cast<double>(step) * digits[d];
  auto* const low = reinterpret_cast<int8_t*>(low_.data() + slot * units);
  std::fill(low, low + units * 4, int8_t{0});
  view.low_scale = step / 254.0f < kLeastScale ? 0.0f : step / 254.0f;
  const Loss second = encode_int8(wide.data(), dim_, view.low_scale, low, &sum);
  view.low = low;
  view.low_offset = 128 * sum;
  return {second.residual, first.code_norm + second.code_norm};
}

}  // namespace jmlr
