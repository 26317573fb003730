#include "checksum.h"

#include <bit>
#include <cstring>

namespace jmlr {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian and read in place");

constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;

uint64_t step(uint64_t state, uint64_t word) { return std::rotl((state ^ word) * kOdd, 29); }

}  // namespace

uint64_t checksum(const unsigned char* bytes, size_t count) {
  uint64_t lanes[8] = {1, 2, 3, 4, 5, 6, 7, 8};  // eight, to hide the latency of the multiplication
  size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    uint64_t words[8];
    std::memcpy(words, bytes + i, sizeof words);
    for (size_t lane = 0; lane < 8; ++lane) lanes[lane] = step(lanes[lane], words[lane]);
  }
  uint64_t state = step(0, count);
  for (; i < count; ++i) state = step(state, bytes[i]);
  for (const uint64_t lane : lanes) state = step(state, lane);
  return step(state, state >> 32);
}

}  // namespace jmlr
