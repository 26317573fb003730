// What the lanes of a warp find together, the same in all of them.
#pragma once

#include "cuda/device.cuh"

namespace jmlr::cuda {

JMLR_DEVICE double warp_sum(double value) {
  for (uint32_t mask = 16; mask != 0; mask /= 2) value += lane_xor(value, mask);
  return value;
}
template <typename T>
JMLR_DEVICE T warp_max(T value) {
  for (uint32_t mask = 16; mask != 0; mask /= 2) value = most(value, lane_xor(value, mask));
  return value;
}

}  // namespace jmlr::cuda
