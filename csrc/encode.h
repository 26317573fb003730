// From float32 to what the scans read, with everything that bounds the loss. The proofs are in docs/topk.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "aligned.h"
#include "kernel.h"
#include "parallel.h"
#include "rounding.h"

namespace jmlr {

constexpr size_t kMaxDim = 65536;  // 255 * 127 * 65536 still fits an int32 dot product

// Bytes from row to row of the codes (0 for float32, which scans the vectors themselves).
size_t code_stride(Storage storage, size_t dim);

// First (row, column) of `rows` [count, dim] that is NaN or infinite.
std::optional<std::pair<size_t, size_t>> first_nonfinite(const float* rows, size_t count, size_t dim);

// Codes and bounds of `count` rows [count, dim]. For every row x with code y: residual >= |x - y| and norm >= |x|, in
// the Euclidean norm. `codes`, `residual` are untouched for float32, `scale` for all but int8. Needs finite rows.
void encode_rows(Storage storage, const float* rows, size_t count, size_t dim, uint8_t* codes, float* scale,
                 float* residual, float* norm);

// The same by all threads of a team. Throw Interrupted.
std::optional<std::pair<size_t, size_t>> first_nonfinite(const float* rows, size_t count, size_t dim, Team& team);
void encode_rows(Storage storage, const float* rows, size_t count, size_t dim, uint8_t* codes, float* scale,
                 float* residual, float* norm, Team& team);

// Queries made ready for one kernel. Panels are as wide as the kernel likes, or 1 for the streaming path.
class QueryBlock {
 public:
  QueryBlock(Storage storage, const Kernel& kernel, const float* queries, size_t count, size_t dim, bool streaming);

  struct Panel {
    size_t first;  // first query
    size_t count;  // queries, without padding
    QueryPanel view;
  };
  const std::vector<Panel>& panels() const { return panels_; }
  const ErrorBound& bound(size_t query) const { return bounds_[query]; }
  // False where a float32 scan may overflow; such a query must be scored exactly against every row.
  bool scannable(size_t query, float max_norm) const;
  bool is_zero(size_t query) const { return norms_[query] == 0.0; }
  const float* query(size_t i) const { return queries_ + i * dim_; }
  size_t count() const { return count_; }

 private:
  const float* queries_;
  size_t count_, dim_;
  std::vector<Panel> panels_;
  std::vector<ErrorBound> bounds_;
  std::vector<double> norms_;
  AlignedBuffer<uint32_t> units_, low_;
  AlignedBuffer<float> scale_, exact_;
  AlignedBuffer<int32_t> offset_;
};

}  // namespace jmlr
