// The scans of every architecture.
#include "cuda/maxsim.h"
#include "cuda/scan_float32.cuh"
#include "cuda/scan_mma.cuh"
#include "cuda/scan_passages.cuh"
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

void launch_passage_scan(const PassageScan& a, const Device& device, cudaStream_t stream) {
  const uint64_t work = static_cast<uint64_t>(a.scan.phase.last - a.scan.phase.first) * a.group_count;
  const auto grid = static_cast<uint32_t>(least(work, uint64_t{device.multiprocessors} * 2));
  if (a.scan.rows.storage == Storage::float32) {
    launch(float32_passages_kernel, grid, 1, 256, sizeof(Float32Passages), stream, a);
  } else {
    const bool int8 = a.scan.rows.storage == Storage::int8;
    const auto kernel = int8 ? mma_passages_kernel<TensorInt8> : mma_passages_kernel<TensorBfloat16>;
    launch(kernel, grid, 1, 256, kMmaPassageShared, stream, a);
  }
}

}  // namespace jmlr::cuda
