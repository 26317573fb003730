// What the filter of a scan is told of a panel's queries.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernel.h"
#include "rounding.h"

namespace jmlr {

// The error bounds of the queries, side by side as the filter reads them.
struct PanelBounds {
  float residual_weight[kMaxWidth];
  float norm_weight[kMaxWidth];
  float constant[kMaxWidth] = {};
  double scale[kMaxWidth] = {};  // of the scan's scores
  bool any_exact = false;        // some is to be scored exactly against every row
  bool any_scanned = false;      // some is to be scanned

  // Weights of queries that are not there, or are zero: never subnormal or NaN.
  PanelBounds() {
    std::fill_n(residual_weight, kMaxWidth, 1.0f);
    std::fill_n(norm_weight, kMaxWidth, 1.0f);
  }

  void set(size_t j, const ErrorBound& bound, double scale_of_scores, bool zero) {
    residual_weight[j] = zero ? 1.0f : bound.residual_weight;
    norm_weight[j] = zero ? 1.0f : bound.norm_weight;
    constant[j] = bound.constant;
    scale[j] = scale_of_scores;
  }

  // What the upper end of a row's score in the scan, without the constant, reaches if the row may reach `floor`. First
  // the floor is lowered to what no upper end below it rounds up from (to infinity: from 2^128 less half a unit), and
  // in the end by more than the arithmetic here may have rounded up.
  float scan_floor(size_t j, float floor) const {
    const double reached = std::min(static_cast<double>(floor), 0x1p+128);
    const double scaled = (reached - (std::fabs(reached) * 0x1p-22 + 0x1p-149)) * scale[j];
    const double lowered = scaled - static_cast<double>(constant[j]);
    const auto low = static_cast<float>(lowered - (std::fabs(lowered) * 0x1p-22 + 0x1p-149));
    return std::max(low, -kLargest);  // where there is no floor yet, rows that are kept out by a norm of -inf stay out
  }
};

}  // namespace jmlr
