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

// The Euclidean norm of x [dim], within a few roundings.
double norm_of(const float* x, size_t dim);

// A scan multiplies vectors by powers of two, so that its sums neither overflow nor vanish: a query by `query_scale`,
// and rows by kLift where all are so small that their numbers may be subnormal. `norm` is the query's, or the largest
// of several that share a scale; `max_norm` the largest of the rows, which may be infinite.
constexpr float kLift = 0x1p+100f;
inline bool lifts(float max_norm) { return max_norm < 0x1p-60f; }
double query_scale(double norm, float max_norm);
std::vector<double> query_scales(const float* queries, size_t count, size_t dim, float max_norm);

// Divides each row by its Euclidean norm: the root of the sum of squares in index order, in float64, and the quotient
// rounded once to float32. Rows of zeros stay as they are. Throws Interrupted.
void normalise_rows(float* rows, size_t count, size_t dim, Team& team);

struct Loss {
  double residual, code_norm;  // |x - y| and |y| of a vector x with code y
};

// Queries made ready for one kernel, each multiplied by its scale, by all threads of a team if there is one. Panels are
// as wide as the kernel likes, or 1 for the streaming path.
class QueryBlock {
 public:
  QueryBlock(Storage storage, const Kernel& kernel, const float* queries, size_t count, size_t dim, bool streaming,
             const std::vector<double>& scale, Team* team = nullptr);

  struct Panel {
    size_t first;  // first query
    size_t count;  // queries, without padding
    QueryPanel view;
  };
  const std::vector<Panel>& panels() const { return panels_; }
  const ErrorBound& bound(size_t query) const { return bounds_[query]; }
  bool is_zero(size_t query) const { return zero_[query] != 0; }
  const float* query(size_t i) const { return queries_ + i * dim_; }
  size_t count() const { return count_; }

 private:
  void encode_panel(Panel& panel, size_t slot, size_t lanes, bool streaming, const std::vector<double>& scale);
  Loss encode_query(QueryPanel& view, size_t slot, const float* q, double norm, bool streaming,
                    std::vector<uint32_t>& packed);

  const float* queries_;
  Storage storage_;
  size_t count_, dim_;
  std::vector<Panel> panels_;
  std::vector<ErrorBound> bounds_;
  std::vector<char> zero_;  // not vector<bool>, for threads write neighbours
  AlignedBuffer<uint32_t> units_, low_;
  AlignedBuffer<float> scale_, exact_;
  AlignedBuffer<int32_t> offset_;
};

}  // namespace jmlr
