// The scan of MaxSim: token rows against the tokens of some queries, for every passage the sum of the maxima.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.h"
#include "candidates.h"
#include "encode.h"
#include "floating_point.h"
#include "maxsim.h"
#include "panel_bounds.h"

namespace jmlr {

struct Interval {
  float low, high;  // the contract's score lies in between
};

// What decides of rows [first, first + count), [count, dim]: where it lies, or decoded into `room`. A value of int8 is
// its digit, less the 128 that it is stored with, times the row's scale, rounded once.
inline const float* originals(const MaxSimView& index, size_t first, size_t count, float* room) {
  if (index.vectors != nullptr) return index.vectors + first * index.dim;
  const size_t stride = code_stride(Storage::int8, index.dim);
  for (size_t r = 0; r < count; ++r) {
    const uint8_t* const codes = index.codes + (first + r) * stride;
    const float scale = index.scale[first + r];
    float* const out = room + r * index.dim;
    for (size_t d = 0; d < index.dim; ++d) out[d] = static_cast<float>(static_cast<int>(codes[d]) - 128) * scale;
  }
  return room;
}

// Token rows against the tokens of some queries by the scan of one storage: for every passage the sum of the maxima.
class PassageScan {
 public:
  static constexpr size_t kTileRows = 96;  // token rows scored at a time, across the ends of passages

  PassageScan(const MaxSimView& index, Storage storage, const Kernels& kernels, const float* tokens,
              const int64_t* starts, size_t count, float max_norm)
      : index_(index),
        storage_(storage),
        kernel_(kernels.scan[static_cast<int>(storage)]),
        raise_(kernels.raise),
        lift_(kernels.lift),
        width_(2 * kernel_.lanes),
        count_(count),
        lifted_(lifts(max_norm)),
        scale_(scales_of(tokens, starts, count, max_norm)),
        block_(storage, kernel_, tokens, scale_.size(), index.dim, false, scale_),
        pieces_(block_.panels().size()),
        bounds_(count) {
    for (size_t q = 0; q < count; ++q) {
      const auto begin = static_cast<size_t>(starts[q] - starts[0]);
      const auto end = static_cast<size_t>(starts[q + 1] - starts[0]);
      sum_scale_.push_back(begin < end ? scale_[begin] * (lifted_ ? static_cast<double>(kLift) : 1.0) : 1.0);
      for (size_t t = begin; t < end; ++t) bounds_[q].add(block_.bound(t), SumBound::slack(end - begin));
      for (size_t t = begin; t < end;) {
        const size_t upto = std::min(end, (t / width_ + 1) * width_);
        pieces_[t / width_].push_back({q, t % width_, t % width_ + upto - t});
        t = upto;
      }
    }
  }

  struct Scratch {
    AlignedBuffer<float> scores;   // [kTileRows, panel width]
    AlignedBuffer<float> lifted;   // [kTileRows, dim], of rows that a scan would take for zero
    AlignedBuffer<float> decoded;  // [kTileRows, dim], where the codes are all there is
    AlignedBuffer<float> peaks;    // [panels, panel width]: maxima over the passage that is being read
    std::vector<double> sums;      // [passages that end in the tile, queries]
  };
  Scratch scratch() const {
    const size_t tile = kTileRows * index_.dim;
    return {AlignedBuffer<float>(kTileRows * width_), AlignedBuffer<float>(lifted_ ? tile : 0),
            AlignedBuffer<float>(index_.vectors == nullptr ? tile : 0),
            AlignedBuffer<float>(block_.panels().size() * width_), std::vector<double>(kTileRows * count_)};
  }

  // Calls found(passage, sums [queries]) for passages [first, last), in order.
  template <class Found>
  void run(Scratch& scratch, size_t first, size_t last, const Found& found) const {
    std::fill(scratch.peaks.data(), scratch.peaks.data() + scratch.peaks.size(), kNoFloor);
    const auto end = static_cast<size_t>(index_.offsets[last]);
    for (auto row = static_cast<size_t>(index_.offsets[first]); row < end; row += kTileRows) {
      const size_t count = std::min(kTileRows, end - row);
      const size_t opened = first;
      while (first < last && static_cast<size_t>(index_.offsets[first + 1]) <= row + count) ++first;
      std::fill_n(scratch.sums.data(), (first - opened) * count_, 0.0);
      const RowBlock rows = rows_at(scratch, row, count);
      for (size_t p = 0; p < block_.panels().size(); ++p) scan_tile(scratch, p, rows, row, opened, first);
      for (size_t passage = opened; passage < first; ++passage) {
        found(passage, scratch.sums.data() + (passage - opened) * count_);
      }
    }
  }

  // Rounding to float32 is monotonic, as the contract's is: the interval's ends need no widening for it.
  Interval interval(size_t q, size_t passage, double sum) const {
    const double residual = storage_ == Storage::float32 ? 0.0 : static_cast<double>(index_.residual[passage]);
    const double norm = static_cast<double>(index_.norm[passage]) * (lifted_ ? static_cast<double>(kLift) : 1.0);
    const double error = bounds_[q].error(residual, norm);
    return {static_cast<float>((sum - error) / sum_scale_[q]), static_cast<float>((sum + error) / sum_scale_[q])};
  }

 private:
  struct Piece {  // a query's lanes of a panel
    size_t query, begin, end;
  };

  // All tokens of a query share the scale of the longest.
  std::vector<double> scales_of(const float* tokens, const int64_t* starts, size_t count, float max_norm) const {
    std::vector<double> scales;
    for (size_t q = 0; q < count; ++q) {
      double longest = 0.0;
      for (auto t = static_cast<size_t>(starts[q] - starts[0]); t < static_cast<size_t>(starts[q + 1] - starts[0]);
           ++t) {
        longest = std::max(longest, norm_of(tokens + t * index_.dim, index_.dim));
      }
      scales.resize(static_cast<size_t>(starts[q + 1] - starts[0]), query_scale(longest, max_norm));
    }
    return scales;
  }

  RowBlock rows_at(Scratch& scratch, size_t first, size_t count) const {
    if (storage_ == Storage::float32) {
      const float* rows = originals(index_, first, count, scratch.decoded.data());
      if (lifted_) lift_(rows, count * index_.dim, scratch.lifted.data());
      return {lifted_ ? scratch.lifted.data() : rows, index_.dim * sizeof(float), count, nullptr};
    }
    const size_t stride = code_stride(storage_, index_.dim);
    return {index_.codes + first * stride, stride, count, index_.scale != nullptr ? index_.scale + first : nullptr};
  }

  // Panel p against `rows` from number `row` on, in which passages [opened, closed) end.
  void scan_tile(Scratch& scratch, size_t p, const RowBlock& rows, size_t row, size_t opened, size_t closed) const {
    const QueryPanel& panel = block_.panels()[p].view;
    float* peaks = scratch.peaks.data() + p * width_;
    {
      const SubnormalsAreZero environment;
      kernel_.scan(panel, rows, scratch.scores.data());
    }
    size_t done = 0;
    for (size_t passage = opened; passage < closed; ++passage) {
      const size_t upto = static_cast<size_t>(index_.offsets[passage + 1]) - row;
      raise_(scratch.scores.data() + done * panel.width, upto - done, panel.width, peaks);
      double* sums = scratch.sums.data() + (passage - opened) * count_;
      for (const Piece& piece : pieces_[p]) {
        for (size_t j = piece.begin; j < piece.end; ++j) sums[piece.query] += static_cast<double>(peaks[j]);
      }
      std::fill(peaks, peaks + width_, kNoFloor);
      done = upto;
    }
    raise_(scratch.scores.data() + done * panel.width, rows.count - done, panel.width, peaks);
  }

  const MaxSimView& index_;
  const Storage storage_;
  Kernel kernel_;
  RaiseFn raise_;
  LiftFn lift_;
  const size_t width_;  // of a panel at most; only the last may be narrower
  const size_t count_;
  const bool lifted_;
  const std::vector<double> scale_;  // by token
  QueryBlock block_;
  std::vector<double> sum_scale_;           // of the scan's sums, by query
  std::vector<std::vector<Piece>> pieces_;  // by panel
  std::vector<SumBound> bounds_;
};

}  // namespace jmlr
