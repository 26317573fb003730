// From float32 to what the scans read, with everything that bounds the loss: a warp for each row or query.
#pragma once

#include "cuda/warp.cuh"

namespace jmlr::cuda {

struct EncodeRows {
  Storage storage;
  uint32_t rows, dim, stride;
  const float* vectors;  // [rows, stride]
  uint8_t* codes;
  float* scale;
  float* residual;
  float* norm;
  float* tile_residual;     // zero before
  float* tile_norm;         // zero before
  float* max_norm;          // zero before
  unsigned long long* bad;  // [1] all ones before: least row * dim + column of a NaN or infinity
};

// Norm and largest absolute value of x [dim], the same in all lanes; reports what is not finite.
struct Measure {
  double norm;
  float largest;
};
JMLR_DEVICE Measure measure(const float* x, uint32_t dim, uint32_t lane, uint64_t first, unsigned long long* bad) {
  double sum = 0.0;
  float largest = 0.0f;
  for (uint32_t d = lane; d < dim; d += 32) {
    const float value = x[d];
    if ((bits_of(value) & 0x7f800000u) == 0x7f800000u) atomicMin(bad, static_cast<unsigned long long>(first + d));
    sum += static_cast<double>(value) * static_cast<double>(value);
    largest = most(largest, value < 0.0f ? -value : value);
  }
  return {sqrt(warp_sum(sum)), warp_max(largest)};
}

// The non-negative floats order as their bits do.
JMLR_DEVICE void raise(float* largest, float value) {
  atomicMax(reinterpret_cast<unsigned int*>(largest), static_cast<unsigned int>(bits_of(value)));
}

JMLR_KERNEL(256, 2) encode_rows_kernel(EncodeRows a) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= a.rows) return;  // whole warps
  const float* x = a.vectors + static_cast<size_t>(row) * a.stride;
  const Measure m = measure(x, a.dim, lane, static_cast<uint64_t>(row) * a.dim, a.bad);
  double lost = 0.0;
  const uint32_t units = units_of(a.storage, a.dim);
  const float scale = a.storage == Storage::int8 ? int8_scale(m.largest) : 0.0f;
  const double inverse = scale > 0.0f ? 1.0 / static_cast<double>(scale) : 0.0;
  if (a.storage != Storage::float32) {
    const bool half = a.storage == Storage::bfloat16;
    for (uint32_t d = lane; d < units * kUnitBytes / code_bytes(a.storage); d += 32) {
      const float value = d < a.dim ? x[d] : 0.0f;
      double coded;
      if (half) {
        const uint16_t code = to_bfloat16(value);
        *reinterpret_cast<uint16_t*>(a.codes + tiled(row, 2 * d, units, kTileRows)) = code;
        coded = static_cast<double>(from_bfloat16(code));
      } else {
        const double digit = int8_digit(static_cast<double>(value), inverse);
        a.codes[tiled(row, d, units, kTileRows)] = static_cast<uint8_t>(static_cast<int8_t>(digit));
        coded = digit * static_cast<double>(scale);
      }
      lost += (static_cast<double>(value) - coded) * (static_cast<double>(value) - coded);
    }
  }
  const float residual = a.storage == Storage::float32 ? 0.0f : round_up(sqrt(warp_sum(lost)));
  const float norm = round_up(m.norm);
  if (lane != 0) return;
  a.residual[row] = residual;
  a.norm[row] = norm;
  if (a.storage == Storage::int8) a.scale[row] = scale;
  raise(a.tile_residual + row / kTileRows, residual);
  raise(a.tile_norm + row / kTileRows, norm);
  raise(a.max_norm, norm);
}

// Sums of a warp's share of |p|^2 and |q - p|^2, p what the scan reads.
struct Loss {
  double norm, residual;
  JMLR_DEVICE void add(double value, double coded) {
    norm += coded * coded;
    residual += (value - coded) * (value - coded);
  }
};

// Where byte b of a query's codes goes; `digit` tells an int8 query's two apart.
JMLR_DEVICE uint8_t* packed_byte(const PrepareQueries& a, uint32_t query, uint32_t digit, uint32_t b, uint32_t parts) {
  const Queries& q = a.queries;
  if (a.packing == Packing::tiles) {
    const uint32_t column = a.storage == Storage::int8 ? 2 * query + digit : query;
    return q.packed + tiled(column, b, q.units, q.height);
  }
  // `b` counts bytes of the packed form: a unit is `parts` times 128 bytes
  return q.packed + (static_cast<size_t>(query) * q.units + b / kUnitBytes) * kUnitBytes * parts + digit * kUnitBytes +
         b % kUnitBytes;
}

JMLR_DEVICE void pack_floats(const PrepareQueries& a, const float* x, uint32_t query, uint32_t lane) {
  // a chunk of 8 bfloat16 meets two of 4 floats: the first four of every chunk, then the last four of every chunk
  const uint32_t wide = a.storage == Storage::bfloat16 ? 2 : 1;
  for (uint32_t d = lane; d < a.queries.units * 32 * wide; d += 32) {
    const float value = d < a.dim ? x[d] : 0.0f;
    const uint32_t chunk = d / (4 * wide);
    const uint32_t part = d / 4 % wide;
    *reinterpret_cast<float*>(packed_byte(a, query, part, chunk * kChunkBytes + d % 4 * 4, wide)) = value;
  }
}

JMLR_DEVICE Loss pack_bfloat16(const PrepareQueries& a, const float* x, uint32_t query, uint32_t lane) {
  Loss loss{};
  for (uint32_t d = lane; d < a.queries.units * 64; d += 32) {
    const float value = d < a.dim ? x[d] : 0.0f;
    const uint16_t code = to_bfloat16(value);
    *reinterpret_cast<uint16_t*>(packed_byte(a, query, 0, 2 * d, 1)) = code;
    loss.add(static_cast<double>(value), static_cast<double>(from_bfloat16(code)));
  }
  return {sqrt(warp_sum(loss.norm)), sqrt(warp_sum(loss.residual))};
}

// q = s1 d1 + s2 d2: a second digit of s2 = s1 / 254 makes |q - p| so much smaller.
JMLR_DEVICE Loss pack_int8(const PrepareQueries& a, const float* x, uint32_t query, uint32_t lane, float largest) {
  const float scale = int8_scale(largest);
  const float fine = scale / 254.0f < kLeastScale ? 0.0f : scale / 254.0f;
  const double inverse = scale > 0.0f ? 1.0 / static_cast<double>(scale) : 0.0;
  const double fine_inverse = fine > 0.0f ? 1.0 / static_cast<double>(fine) : 0.0;
  double first = 0.0;
  double second = 0.0;
  double residual = 0.0;
  for (uint32_t d = lane; d < a.queries.units * 128; d += 32) {
    const double value = d < a.dim ? static_cast<double>(x[d]) : 0.0;
    const double digit = int8_digit(value, inverse);
    const double rest = value - digit * static_cast<double>(scale);
    const double low = int8_digit(rest, fine_inverse);
    const double left = rest - low * static_cast<double>(fine);
    *packed_byte(a, query, 0, d, 2) = static_cast<uint8_t>(static_cast<int8_t>(digit));
    *packed_byte(a, query, 1, d, 2) = static_cast<uint8_t>(static_cast<int8_t>(low));
    first += digit * digit;
    second += low * low;
    residual += left * left;
  }
  if (lane == 0) {
    a.queries.scale[2 * query] = scale;
    a.queries.scale[2 * query + 1] = fine;
  }
  const double norm =
      sqrt(warp_sum(first)) * static_cast<double>(scale) + sqrt(warp_sum(second)) * static_cast<double>(fine);
  return {norm, sqrt(warp_sum(residual))};
}

// Tensor cores need not round to nearest, nor add in any order, nor keep more bits than a float32 has; see
// docs/topk.md.
JMLR_HD inline Rounding tensor_core_rounding(uint32_t padded_dim) {
  const auto n = static_cast<double>(padded_dim);
  return {1.02 * (4.0 * n + 64.0) * 2.0 * kUnit, (4.0 * n + 64.0) * 0x1p-126};
}

JMLR_KERNEL(256, 2) prepare_queries_kernel(PrepareQueries a) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t query = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (query >= a.queries.count) return;  // whole warps
  const float* x = a.queries.exact + static_cast<size_t>(query) * a.dim;
  const Measure m = measure(x, a.dim, lane, (a.queries.first + query) * a.dim, a.queries.bad);
  Loss loss{m.norm, 0.0};
  Rounding rounding = float32_rounding(a.dim);
  if (a.storage == Storage::int8) {
    loss = pack_int8(a, x, query, lane, m.largest);
    rounding = int8_rounding();
  } else if (a.packing == Packing::streaming || a.storage == Storage::float32) {
    pack_floats(a, x, query, lane);
  } else {
    loss = pack_bfloat16(a, x, query, lane);
    rounding = tensor_core_rounding(a.queries.units * 64);
  }
  if (lane != 0) return;
  const bool scanned = scannable(m.norm, static_cast<double>(*a.max_norm));  // false for NaN too
  a.queries.bound[query] = bound_of(rounding, a.dim, m.norm, loss.norm, loss.residual);
  a.out.floor[query] = scanned ? -kInfinity : kInfinity;
  a.out.overflow[query] = scanned ? 0 : 1;
  a.out.count[query] = a.dense_rows;
}

}  // namespace jmlr::cuda
