// The scan that only Hopper has; compiled for sm_90a alone.
#include "cuda/scan_wgmma.cuh"
#include "cuda/search.h"

namespace jmlr::cuda {
namespace {

template <uint32_t kColumns>
void launch_columns(const Scan& scan, const Device& device, cudaStream_t stream) {
  const uint64_t work = static_cast<uint64_t>(scan.phase.last - scan.phase.first) * (scan.queries.padded / kColumns);
  const auto grid = static_cast<uint32_t>(least(work, uint64_t{device.multiprocessors}));
  const auto kernel =
      scan.rows.storage == Storage::int8 ? wgmma_kernel<TensorInt8, kColumns> : wgmma_kernel<TensorBfloat16, kColumns>;
  launch(kernel, grid, 1, kWgmmaThreads, WgmmaShape<kColumns>::kShared, stream, scan);
}

}  // namespace

void launch_hopper(const Scan& scan, const Device& device, cudaStream_t stream) {
  if (scan.queries.height == 16) {
    launch_columns<16>(scan, device, stream);
  } else if (scan.queries.height == 64) {
    launch_columns<64>(scan, device, stream);
  } else {
    launch_columns<256>(scan, device, stream);
  }
}

}  // namespace jmlr::cuda
