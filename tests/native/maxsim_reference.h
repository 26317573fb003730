// The contract of exact MaxSim, written out, and rows to try it on.
#pragma once

#include <random>

#include "reference.h"

struct TokenRows {  // groups of rows, one group after another: passages or queries
  std::vector<float> values;
  std::vector<int64_t> offsets;
  size_t groups() const { return offsets.size() - 1; }
};

inline double dot(const float* q, const float* x, size_t dim) {
  double sum = 0.0;
  for (size_t d = 0; d < dim; ++d) sum += static_cast<double>(q[d]) * static_cast<double>(x[d]);
  return sum;
}

inline Result maxsim_reference(const TokenRows& passages, const TokenRows& queries, size_t dim, size_t k) {
  Result result{std::vector<float>(queries.groups() * k, -std::numeric_limits<float>::infinity()),
                std::vector<int64_t>(queries.groups() * k, -1)};
  for (size_t b = 0; b < queries.groups(); ++b) {
    std::vector<float> scores(passages.groups());
    for (size_t p = 0; p < passages.groups(); ++p) {
      double sum = 0.0;
      for (auto t = static_cast<size_t>(queries.offsets[b]); t < static_cast<size_t>(queries.offsets[b + 1]); ++t) {
        double best = -std::numeric_limits<double>::infinity();
        for (auto r = static_cast<size_t>(passages.offsets[p]); r < static_cast<size_t>(passages.offsets[p + 1]); ++r) {
          best = std::max(best, dot(queries.values.data() + t * dim, passages.values.data() + r * dim, dim));
        }
        sum += best;
      }
      scores[p] = static_cast<float>(sum);
    }
    std::vector<size_t> order(passages.groups());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t c) { return scores[a] > scores[c]; });
    for (size_t i = 0; i < std::min(k, order.size()); ++i) {
      result.ids[b * k + i] = static_cast<int64_t>(order[i]);
      result.scores[b * k + i] = scores[order[i]];
    }
  }
  return result;
}

// Groups of 1 to `longest` rows of whole numbers from -levels to levels.
inline TokenRows random_rows(std::mt19937& random, size_t groups, size_t longest, size_t dim, int levels) {
  std::uniform_int_distribution<int> level(-levels, levels);
  std::uniform_int_distribution<int64_t> length(1, static_cast<int64_t>(longest));
  TokenRows rows{{}, {0}};
  for (size_t g = 0; g < groups; ++g) rows.offsets.push_back(rows.offsets.back() + length(random));
  rows.values.resize(static_cast<size_t>(rows.offsets.back()) * dim);
  for (float& value : rows.values) value = static_cast<float>(level(random));
  return rows;
}
