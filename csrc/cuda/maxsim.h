// Exact MaxSim on the device. Host interface, as search.h: all is queued on the caller's stream, nothing waits.
#pragma once

#include "cuda/passages.h"
#include "cuda/search.h"

namespace jmlr::cuda {

// The largest residual and norm of each passage, into `passages`; after `encode` of the rows.
void bound_passages(const Rows& rows, const Passages& passages, cudaStream_t stream);

// A search of one batch. Afterwards overflow[q] != 0 says that query q is not certified, and bad [1] is the least
// slot * dim + column that is NaN or infinite.
struct PassageCall {
  const float* tokens;  // [slot_count, dim], zero where no query has a token
  uint32_t slot_count;  // a multiple of group_width
  const Range* slots;   // [count]
  const Group* groups;  // [group_count]
  uint32_t group_count;
  uint32_t count, k;   // queries
  const float* reach;  // [1] the largest norm of a row times the most tokens of a query
  float* scores;       // [count, k]
  int64_t* ids;        // [count, k]
  int32_t* overflow;   // [count]
  unsigned long long* bad;
  void* workspace;
};
size_t maxsim_workspace_bytes(const Rows& rows, uint32_t slot_count, uint32_t count, uint32_t k);
void maxsim(const Rows& rows, const Passages& passages, const std::vector<uint32_t>& chunk, const PassageCall& call,
            const Device& device, cudaStream_t stream);

// The slow path for the `count` queries `which`: all passages in float64.
void maxsim_exactly(const Rows& rows, const Passages& passages, const PassageCall& call, const int32_t* which,
                    uint32_t count, cudaStream_t stream);

// In scan.cu, beside the kernels that it shares loops with.
void launch_passage_scan(const PassageScan& scan, const Device& device, cudaStream_t stream);

}  // namespace jmlr::cuda
