// The contract of exact top-k, written out: what every native test compares with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

struct Result {
  std::vector<float> scores;
  std::vector<int64_t> ids;
  bool operator==(const Result& other) const {
    return ids == other.ids && scores.size() == other.scores.size() &&
           (scores.empty() || std::memcmp(scores.data(), other.scores.data(), scores.size() * sizeof(float)) == 0);
  }
};

using Matrix = std::vector<float>;

// `allowed`, if any: [count, rows], nonzero where a query may have a row.
inline Result reference(const Matrix& x, const Matrix& q, size_t dim, size_t k, const std::vector<char>& allowed = {}) {
  const size_t rows = x.size() / dim;
  const size_t count = q.size() / dim;
  Result result{std::vector<float>(count * k, -std::numeric_limits<float>::infinity()),
                std::vector<int64_t>(count * k, -1)};
  for (size_t b = 0; b < count; ++b) {
    std::vector<float> scores(rows);
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0.0;
      for (size_t d = 0; d < dim; ++d) sum += static_cast<double>(q[b * dim + d]) * static_cast<double>(x[r * dim + d]);
      scores[r] = static_cast<float>(sum);
    }
    std::vector<int64_t> order;
    for (size_t r = 0; r < rows; ++r) {
      if (allowed.empty() || allowed[b * rows + r] != 0) order.push_back(static_cast<int64_t>(r));
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t c) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(c)];
    });
    for (size_t i = 0; i < std::min(k, order.size()); ++i) {
      result.ids[b * k + i] = order[i];
      result.scores[b * k + i] = scores[static_cast<size_t>(order[i])];
    }
  }
  return result;
}
