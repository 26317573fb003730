// A 64-bit checksum at the speed of memory. Against accidents, not adversaries: any change within one word is detected
// for certain (each step is a bijection of the word), anything else with probability 1 - 2^-64 or so.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jmlr {

uint64_t checksum(const unsigned char* bytes, size_t count);

}  // namespace jmlr
