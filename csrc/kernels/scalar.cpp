// Plain C++: the reference that every other instruction set is tested against, and what runs where there is none.
#include <cstring>

#include "../kernel.h"

namespace jmlr::scalar {
namespace {

constexpr size_t kLanes = 8;

float from_bfloat16(uint32_t bits) {
  const uint32_t wide = bits << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

void scan_float32(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  const auto* queries = static_cast<const float*>(panel.units);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const float*>(static_cast<const char*>(rows.codes) + r * rows.stride);
    float* out = scores + r * panel.width;
    for (size_t j = 0; j < panel.width; ++j) out[j] = 0.0f;
    for (size_t u = 0; u < panel.unit_count; ++u) {
      for (size_t j = 0; j < panel.width; ++j) out[j] += row[u] * queries[u * panel.width + j];
    }
  }
}

void scan_bfloat16(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  const auto* queries = static_cast<const uint32_t*>(panel.units);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = reinterpret_cast<const uint32_t*>(static_cast<const char*>(rows.codes) + r * rows.stride);
    float* out = scores + r * panel.width;
    for (size_t j = 0; j < panel.width; ++j) out[j] = 0.0f;
    for (size_t u = 0; u < panel.unit_count; ++u) {
      const float even = from_bfloat16(row[u] & 0xffffu);
      const float odd = from_bfloat16(row[u] >> 16);
      for (size_t j = 0; j < panel.width; ++j) {
        if (panel.exact != nullptr) {
          out[j] += even * panel.exact[2 * u] + odd * panel.exact[2 * u + 1];
        } else {
          const uint32_t query = queries[u * panel.width + j];
          out[j] += even * from_bfloat16(query & 0xffffu) + odd * from_bfloat16(query >> 16);
        }
      }
    }
  }
}

int32_t dot_int8(const int8_t* query, size_t query_step, const uint8_t* row, size_t units) {
  int32_t sum = 0;
  for (size_t u = 0; u < units; ++u) {
    for (size_t e = 0; e < 4; ++e) sum += static_cast<int32_t>(row[4 * u + e]) * query[4 * u * query_step + e];
  }
  return sum;
}

void scan_int8(const QueryPanel& panel, const RowBlock& rows, float* scores) {
  const auto* queries = static_cast<const int8_t*>(panel.units);
  for (size_t r = 0; r < rows.count; ++r) {
    const auto* row = static_cast<const uint8_t*>(rows.codes) + r * rows.stride;
    for (size_t j = 0; j < panel.width; ++j) {
      const int32_t dot = dot_int8(queries + 4 * j, panel.width, row, panel.unit_count) - panel.offset[j];
      float score = static_cast<float>(dot) * panel.scale[j];
      if (panel.low != nullptr) {
        const int32_t low =
            dot_int8(static_cast<const int8_t*>(panel.low), 1, row, panel.unit_count) - panel.low_offset;
        score += static_cast<float>(low) * panel.low_scale;
      }
      scores[r * panel.width + j] = score * rows.scale[r];
    }
  }
}

size_t filter(const FilterTerms& t, Hit* hits) {
  size_t count = 0;
  for (size_t i = 0; i < t.ni; ++i) {
    const float* scores = t.scores + i * t.nj;
    for (size_t j = 0; j < t.nj; ++j) {
      const float upper = scores[j] + t.a[i] * t.u[j] + t.b[i] * t.v[j];
      const float floor = t.floor_i != nullptr ? t.floor_i[i] : t.floor_j[j];
      if (!(upper < floor)) hits[count++] = {static_cast<uint32_t>(i), static_cast<uint32_t>(j)};
    }
  }
  return count;
}

// Additions of one score must stay in order, so the speed comes from several rows at a time.
template <size_t kRows>
void rescore_rows(const float* query, const float* const* rows, size_t dim, float* out) {
  double sums[kRows] = {};
  for (size_t d = 0; d < dim; ++d) {
    const double q = query[d];
    for (size_t r = 0; r < kRows; ++r) sums[r] += q * static_cast<double>(rows[r][d]);
  }
  for (size_t r = 0; r < kRows; ++r) out[r] = static_cast<float>(sums[r]);
}

void rescore(const float* query, const float* const* rows, size_t count, size_t dim, float* out) {
  size_t n = 0;
  for (; n + 8 <= count; n += 8) rescore_rows<8>(query, rows + n, dim, out + n);
  for (; n < count; ++n) rescore_rows<1>(query, rows + n, dim, out + n);
}

// Eight tokens and two rows at a time (a row twice where they are odd in number: no maximum minds).
void max_dots(const double* tokens, size_t width, const float* rows, size_t count, size_t dim, double* best) {
  for (size_t t = 0; t < width; t += 8) {
    for (size_t n = 0; n < count; n += 2) {
      const float* row = rows + n * dim;
      const float* next = n + 1 < count ? row + dim : row;
      double sums[2][8] = {};
      for (size_t d = 0; d < dim; ++d) {
        const double* token = tokens + d * width + t;
        const double x[2] = {row[d], next[d]};
        for (size_t i = 0; i < 8; ++i) {
          sums[0][i] += x[0] * token[i];
          sums[1][i] += x[1] * token[i];
        }
      }
      for (size_t i = 0; i < 8; ++i) {
        const double larger = sums[0][i] > sums[1][i] ? sums[0][i] : sums[1][i];
        if (larger > best[t + i]) best[t + i] = larger;
      }
    }
  }
}

void raise(const float* scores, size_t rows, size_t width, float* __restrict peaks) {
  for (size_t r = 0; r < rows; ++r) {
    const float* row = scores + r * width;
    for (size_t j = 0; j < width; ++j) peaks[j] = row[j] > peaks[j] ? row[j] : peaks[j];
  }
}

// By integers: a processor may take a hundred cycles for a subnormal operand.
void lift(const float* rows, size_t count, float* out) {
  constexpr uint32_t kSign = 0x80000000u, kLeastNormal = 0x00800000u, kHundred = 100u << 23;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits, subnormal;
    std::memcpy(&bits, rows + i, sizeof bits);
    const uint32_t magnitude = bits & ~kSign;
    const float value = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-49f;  // 2^(100 - 149)
    std::memcpy(&subnormal, &value, sizeof subnormal);
    bits = (bits & kSign) | (magnitude < kLeastNormal ? subnormal : magnitude + kHundred);
    std::memcpy(out + i, &bits, sizeof bits);
  }
}

}  // namespace

Kernels kernels() {
  return {{{"scalar", kLanes, scan_float32}, {"scalar", kLanes, scan_bfloat16}, {"scalar", kLanes, scan_int8}},
          filter,
          rescore,
          max_dots,
          raise,
          lift};
}

}  // namespace jmlr::scalar
