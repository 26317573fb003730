// The tile registers of AMX in plain C++, so that the kernel of kernels/amx.h runs, and can be tested, on any machine.
//
// After Intel's description (Architecture Instruction Set Extensions, "TDPBF16PS", "TDPBUSD"): a bfloat16 product takes
// pairs; the 16 first members are summed by fused multiply-adds, so are the second ones, then both sums are added, and
// the result to what the tile held; each step rounds to nearest even, and reads and writes denormals as zero.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

class EmulatedTiles {
 public:
  explicit EmulatedTiles(size_t rows) : rows_(rows) {}

  template <int kTile>
  void zero() {
    std::memset(tile_[kTile], 0, sizeof tile_[kTile]);
  }
  template <int kTile>
  void load(const char* from, size_t stride) {
    for (size_t r = 0; r < height(kTile); ++r) std::memcpy(tile_[kTile][r], from + r * stride, kBytes);
  }
  template <int kTile>
  void load_once(const char* from, size_t stride) {
    load<kTile>(from, stride);
  }
  template <int kTile>
  void store(float* to, size_t stride) const {
    for (size_t r = 0; r < height(kTile); ++r) {
      std::memcpy(reinterpret_cast<char*>(to) + r * stride, tile_[kTile][r], kBytes);
    }
  }
  template <int kSum, int kRow, int kQuery>
  void multiply_bfloat16() {
    for (size_t m = 0; m < rows_; ++m) {
      for (size_t n = 0; n < 16; ++n) {
        float sum[2] = {};
        for (size_t k = 0; k < 16; ++k) {
          for (size_t e = 0; e < 2; ++e) {
            const float x = flushed(wide(read<uint16_t>(tile_[kRow][m], 2 * k + e)));
            const float q = flushed(wide(read<uint16_t>(tile_[kQuery][k], 2 * n + e)));
            sum[e] = flushed(std::fma(x, q, sum[e]));
          }
        }
        const float held = flushed(read<float>(tile_[kSum][m], n));
        write(tile_[kSum][m], n, flushed(held + flushed(sum[0] + sum[1])));
      }
    }
  }
  template <int kSum, int kRow, int kQuery>
  void multiply_int8() {
    for (size_t m = 0; m < rows_; ++m) {
      for (size_t n = 0; n < 16; ++n) {
        auto sum = read<int32_t>(tile_[kSum][m], n);
        for (size_t k = 0; k < 16; ++k) {
          for (size_t e = 0; e < 4; ++e) {
            sum += static_cast<int32_t>(read<uint8_t>(tile_[kRow][m], 4 * k + e)) *
                   static_cast<int32_t>(read<int8_t>(tile_[kQuery][k], 4 * n + e));
          }
        }
        write(tile_[kSum][m], n, sum);
      }
    }
  }

 private:
  static constexpr size_t kBytes = 64;
  size_t height(int tile) const { return tile < 6 ? rows_ : 16; }
  template <class T>
  static T read(const unsigned char* row, size_t i) {
    T value;
    std::memcpy(&value, row + i * sizeof value, sizeof value);
    return value;
  }
  template <class T>
  static void write(unsigned char* row, size_t i, T value) {
    std::memcpy(row + i * sizeof value, &value, sizeof value);
  }
  static float wide(uint16_t code) {
    const uint32_t bits = static_cast<uint32_t>(code) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

  size_t rows_;
  unsigned char tile_[8][16][kBytes];
};
