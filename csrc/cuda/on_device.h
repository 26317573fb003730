// Makes the device of some memory current for a while, and says what it is.
#pragma once

#include <cuda_runtime.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cuda/search.h"

namespace jmlr::cuda {

inline void require(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Kernels run on the device that the memory is on, whatever device is current; that is put back afterwards.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    require(cudaGetDevice(&before_), "cudaGetDevice");
    require(cudaSetDevice(device), "cudaSetDevice");
    int multiprocessors = 0;
    int major = 0;
    int minor = 0;
    require(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
    require(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "compute capability");
    require(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "compute capability");
    const bool plain = std::getenv("JMLR_CUDA_NO_WGMMA") != nullptr;  // to test and time the other tensor-core path
    device_ = {static_cast<uint32_t>(multiprocessors), JMLR_WITH_HOPPER == 1 && major == 9 && minor == 0 && !plain};
  }
  ~OnDevice() { cudaSetDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const Device& device() const { return device_; }

 private:
  int before_ = 0;
  Device device_{};
};

}  // namespace jmlr::cuda
