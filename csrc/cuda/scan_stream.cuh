// Few queries: rows go by once, at the speed of memory. Eight lanes share a row, a warp loads 4 x kRowsAtOnce rows.
#pragma once

#include "cuda/nominate.cuh"

namespace jmlr::cuda {

constexpr uint32_t kRowsAtOnce = 4;  // rows of each group of eight lanes: loads in flight, uses of each query chunk

struct StreamFloat32 {
  static constexpr uint32_t kParts = 1;
  using Sum = float;
  struct Query {
    float4 part[1];
  };
  JMLR_DEVICE static void multiply(Sum& sum, uint4 x, const Query& q) {
    sum = fmaf(float_of(x.x), q.part[0].x, sum);
    sum = fmaf(float_of(x.y), q.part[0].y, sum);
    sum = fmaf(float_of(x.z), q.part[0].z, sum);
    sum = fmaf(float_of(x.w), q.part[0].w, sum);
  }
  JMLR_DEVICE static Sum over_lanes(Sum sum, uint32_t mask) { return sum + lane_xor(sum, mask); }
  JMLR_DEVICE static float score(Sum sum, const Scan&, uint32_t, uint32_t) { return sum; }
};

struct StreamBfloat16 {
  static constexpr uint32_t kParts = 2;
  using Sum = float;
  struct Query {
    float4 part[2];
  };
  JMLR_DEVICE static void pair(Sum& sum, uint32_t x, float even, float odd) {
    sum = fmaf(float_of(x << 16), even, sum);
    sum = fmaf(float_of(x & 0xffff0000u), odd, sum);
  }
  JMLR_DEVICE static void multiply(Sum& sum, uint4 x, const Query& q) {
    pair(sum, x.x, q.part[0].x, q.part[0].y);
    pair(sum, x.y, q.part[0].z, q.part[0].w);
    pair(sum, x.z, q.part[1].x, q.part[1].y);
    pair(sum, x.w, q.part[1].z, q.part[1].w);
  }
  JMLR_DEVICE static Sum over_lanes(Sum sum, uint32_t mask) { return sum + lane_xor(sum, mask); }
  JMLR_DEVICE static float score(Sum sum, const Scan&, uint32_t, uint32_t) { return sum; }
};

struct StreamInt8 {
  static constexpr uint32_t kParts = 2;
  struct Sum {
    int32_t first, second;
  };
  struct Query {
    float4 part[2];
  };
  JMLR_DEVICE static int32_t dot(int32_t sum, uint4 x, float4 y) {
    sum = dot4(x.x, bits_of(y.x), sum);
    sum = dot4(x.y, bits_of(y.y), sum);
    sum = dot4(x.z, bits_of(y.z), sum);
    return dot4(x.w, bits_of(y.w), sum);
  }
  JMLR_DEVICE static void multiply(Sum& sum, uint4 x, const Query& q) {
    sum.first = dot(sum.first, x, q.part[0]);
    sum.second = dot(sum.second, x, q.part[1]);
  }
  JMLR_DEVICE static Sum over_lanes(Sum sum, uint32_t mask) {
    return {sum.first + lane_xor(sum.first, mask), sum.second + lane_xor(sum.second, mask)};
  }
  JMLR_DEVICE static float score(Sum sum, const Scan& a, uint32_t row, uint32_t query) {
    const float scale = a.rows.scale[row];
    const float* by_digit = a.queries.scale + 2 * query;
    return static_cast<float>(sum.first) * scale * by_digit[0] + static_cast<float>(sum.second) * scale * by_digit[1];
  }
};

// Address of chunk `chunk` of unit `unit` of a row; null where a float32 row has ended.
template <typename Code>
JMLR_DEVICE const void* chunk_of(const Rows& rows, uint32_t units, uint32_t row, uint32_t unit, uint32_t chunk) {
  if constexpr (std::is_same_v<Code, StreamFloat32>) {
    const uint32_t d = unit * 32 + chunk * 4;
    return row < rows.rows && d < rows.stride ? rows.vectors + static_cast<size_t>(row) * rows.stride + d : nullptr;
  } else {
    return rows.codes + tiled(row, unit * kUnitBytes + chunk * kChunkBytes, units, kTileRows);
  }
}

template <typename Code>
JMLR_DEVICE typename Code::Query query_chunk(const Queries& q, uint32_t query, uint32_t unit, uint32_t chunk) {
  typename Code::Query y;
  const uint8_t* at = q.packed + (static_cast<size_t>(query) * q.units + unit) * kUnitBytes * Code::kParts;
  for (uint32_t part = 0; part < Code::kParts; ++part) {
    const uint4 bits = load(at + part * kUnitBytes + chunk * kChunkBytes);
    y.part[part] = {float_of(bits.x), float_of(bits.y), float_of(bits.z), float_of(bits.w)};
  }
  return y;
}

// Scores of the kRowsAtOnce rows first + 4 r of this group of eight lanes against kQueries queries from q0.
template <typename Code, uint32_t kQueries>
JMLR_DEVICE void stream_rows(const Scan& a, uint32_t first, uint32_t q0, uint32_t chunk,
                             typename Code::Sum (&sums)[kRowsAtOnce][kQueries]) {
#pragma unroll 2
  for (uint32_t unit = 0; unit < a.queries.units; ++unit) {
    uint4 x[kRowsAtOnce];
#pragma unroll
    for (uint32_t r = 0; r < kRowsAtOnce; ++r) {
      const void* at = chunk_of<Code>(a.rows, a.queries.units, first + 4 * r, unit, chunk);
      x[r] = at != nullptr ? load_once(at) : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (uint32_t j = 0; j < kQueries; ++j) {
      const auto y = query_chunk<Code>(a.queries, least(q0 + j, a.queries.count - 1), unit, chunk);
#pragma unroll
      for (uint32_t r = 0; r < kRowsAtOnce; ++r) Code::multiply(sums[r][j], x[r], y);
    }
  }
}

// One block of 8 warps takes a tile of 128 rows at a time.
template <typename Code, uint32_t kQueries>
JMLR_KERNEL(256, 2)
stream_kernel(Scan a) {
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t chunk = threadIdx.x % 8;
  const uint32_t group = threadIdx.x % 32 / 8;
  for (uint32_t position = a.phase.first + blockIdx.x; position < a.phase.last; position += gridDim.x) {
    const uint32_t tile_row = a.order.tile_at(position) * kTileRows;
    const uint32_t in_tile = warp * 4 * kRowsAtOnce + group;
    for (uint32_t q0 = 0; q0 < a.queries.count; q0 += kQueries) {
      typename Code::Sum sums[kRowsAtOnce][kQueries] = {};
      stream_rows<Code, kQueries>(a, tile_row + in_tile, q0, chunk, sums);
#pragma unroll
      for (uint32_t r = 0; r < kRowsAtOnce; ++r) {
#pragma unroll
        for (uint32_t j = 0; j < kQueries; ++j) {
          typename Code::Sum sum = sums[r][j];
          for (uint32_t mask = 4; mask != 0; mask /= 2) sum = Code::over_lanes(sum, mask);
          if (chunk == (r * kQueries + j) % 8 && q0 + j < a.queries.count) {
            const uint32_t row = in_tile + 4 * r;
            nominate(a, position, row, q0 + j, Code::score(sum, a, tile_row + row, q0 + j));
          }
        }
      }
    }
  }
}

}  // namespace jmlr::cuda
