// Exact top-k on the device. Host interface; everything is queued on the caller's stream, nothing waits or allocates.
#pragma once

#include "cuda/types.h"

using cudaStream_t = struct CUstream_st*;  // as CUDA says it

namespace jmlr::cuda {

struct Device {
  uint32_t multiprocessors;
  bool hopper;  // compute capability 9.0, and kernels for it are built in
};

enum class Path : int { streaming = 0, float32_tiles = 1, mma = 2, wgmma = 3 };
Path path_of(Storage storage, uint64_t queries, const Device& device);

// What `encode` writes and `Rows` points to. Sizes in elements; `codes` in bytes.
struct Columns {
  uint64_t codes, padded_rows, tiles;
};
Columns columns_of(Storage storage, uint64_t rows, uint32_t dim);

// Codes and bounds of rows [rows, stride]. `bad` [1] becomes the least row * dim + column that is NaN or infinite, else
// all ones. The other outputs are `Rows`' columns.
void encode(const Rows& rows, unsigned long long* bad, cudaStream_t stream);

// A search: queries [count, dim] in, scores and ids [count, k] out. Afterwards overflow[q] != 0 says that the answer to
// query q is not certified and search_exactly must give it; bad [1] is as in `encode`, and then no answer counts.
struct Call {
  const float* queries;
  uint64_t count;
  uint32_t k;
  float* scores;
  int64_t* ids;
  int32_t* overflow;
  unsigned long long* bad;
  void* workspace;
};
size_t workspace_bytes(const Rows& rows, uint64_t count, uint32_t k, const Device& device);
void search(const Rows& rows, const Call& call, const Device& device, cudaStream_t stream);

// The slow path, obviously right: all rows in float64, a list's length at a time. `which` [count] are numbers of
// queries.
void search_exactly(const Rows& rows, const Call& call, const int32_t* which, uint64_t count, cudaStream_t stream);

// The k best of scores and ids [count, width], of which negative ids are padding.
size_t merge_bytes(uint64_t count, uint32_t k);
void merge(const float* scores, const int64_t* ids, uint64_t width, const Call& call, cudaStream_t stream);

// By file, so that each kernel is compiled for the architectures that have it.
void launch_scan(Path path, const Scan& scan, const Device& device, cudaStream_t stream);
void launch_hopper(const Scan& scan, const Device& device, cudaStream_t stream);

}  // namespace jmlr::cuda
