// The part of CUDA that the kernels use, by name; a test replaces this with an emulation that runs on the host.
#pragma once

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "cuda/types.h"

#define JMLR_DEVICE __device__ __forceinline__
#define JMLR_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

namespace jmlr::cuda {

constexpr uint32_t kAllLanes = 0xffffffffu;

JMLR_DEVICE uint8_t* shared_memory() {
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  return dynamic_shared;
}
template <typename T>
JMLR_DEVICE T lane_xor(T value, uint32_t mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}
template <typename T>
JMLR_DEVICE T lane_get(T value, uint32_t lane) {
  return __shfl_sync(kAllLanes, value, lane);
}
JMLR_DEVICE void warp_barrier() { __syncwarp(); }
JMLR_DEVICE uint32_t lanes_where(bool condition) { return __ballot_sync(kAllLanes, condition); }
JMLR_DEVICE uint32_t bits_set(uint32_t mask) { return __popc(mask); }
JMLR_DEVICE int32_t dot4(uint32_t x, uint32_t y, int32_t sum) {
  return __dp4a(static_cast<int>(x), static_cast<int>(y), sum);
}
// Streams through the cache without staying: rows are read once, queries and floors again and again.
JMLR_DEVICE uint4 load_once(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
JMLR_DEVICE uint4 load(const void* p) { return __ldg(static_cast<const uint4*>(p)); }

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

inline void fill_bytes(void* at, int value, size_t bytes, cudaStream_t stream) {
  if (bytes != 0) check(cudaMemsetAsync(at, value, bytes, stream), "memset");
}

template <typename Args>
void launch(void (*kernel)(Args), uint32_t grid_x, uint32_t grid_y, uint32_t threads, size_t shared,
            cudaStream_t stream, const Args& args) {
  if (grid_x == 0 || grid_y == 0) return;
  if (shared > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          "shared memory");
  }
  kernel<<<dim3(grid_x, grid_y), threads, shared, stream>>>(args);
  check(cudaGetLastError(), "launch");
}

}  // namespace jmlr::cuda
#else
#include "cuda_emulation.h"
#endif
