// The scans of every architecture.
#include "cuda/scan_float32.cuh"
#include "cuda/scan_mma.cuh"
#include "cuda/scan_stream.cuh"
#include "cuda/search.h"

namespace jmlr::cuda {
namespace {

template <typename Code>
void launch_stream(const Scan& scan, const Device& device, cudaStream_t stream) {
  const uint32_t tiles = scan.phase.last - scan.phase.first;
  const uint32_t grid = least(tiles, device.multiprocessors * 4);
  if (scan.queries.count == 1) {
    launch(stream_kernel<Code, 1>, grid, 1, 256, 0, stream, scan);
  } else {
    launch(stream_kernel<Code, 4>, grid, 1, 256, 0, stream, scan);
  }
}

}  // namespace

void launch_scan(Path path, const Scan& scan, const Device& device, cudaStream_t stream) {
  const Storage storage = scan.rows.storage;
  const uint64_t tiles = scan.phase.last - scan.phase.first;
  const uint64_t resident = uint64_t{device.multiprocessors} * 2;
  if (path == Path::mma) {
    const auto grid = static_cast<uint32_t>(least(tiles * (scan.queries.padded / kMmaColumns), resident));
    const auto kernel = storage == Storage::int8 ? mma_kernel<TensorInt8> : mma_kernel<TensorBfloat16>;
    launch(kernel, grid, 1, 256, kMmaShared, stream, scan);
  } else if (path == Path::float32_tiles) {
    const uint64_t work = tiles * divide_up(scan.queries.count, kTileQueries);
    launch(float32_kernel, static_cast<uint32_t>(least(work, resident)), 1, 256, sizeof(Float32Tile), stream, scan);
  } else if (storage == Storage::float32) {
    launch_stream<StreamFloat32>(scan, device, stream);
  } else if (storage == Storage::bfloat16) {
    launch_stream<StreamBfloat16>(scan, device, stream);
  } else {
    launch_stream<StreamInt8>(scan, device, stream);
  }
}

}  // namespace jmlr::cuda
