// What reaches the threshold of a range search, of one query and one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "candidates.h"

namespace jmlr {

class Reaching {
 public:
  // Adds a row that may reach the threshold. Many are scored exactly at once, by score(rows, count, out), so that what
  // does not reach it takes no memory for long.
  template <class Score>
  void add(const Candidate& candidate, float threshold, const Score& score) {
    items_.push_back(candidate);
    if (items_.size() - sure_ >= kLoose) confirm(threshold, score);
  }

  // Scores exactly what is not, and keeps what reaches the threshold.
  template <class Score>
  void confirm(float threshold, const Score& score) {
    for (size_t at = sure_; at < items_.size(); at += kSettledAtOnce) {
      const size_t count = std::min(kSettledAtOnce, items_.size() - at);
      int64_t rows[kSettledAtOnce];
      float scores[kSettledAtOnce];
      bool exact = true;
      for (size_t i = 0; i < count; ++i) {
        const Candidate& c = items_[at + i];
        rows[i] = c.row();
        scores[i] = c.low;
        exact = exact && c.is_exact == 1;
      }
      if (!exact) score(rows, count, scores);
      for (size_t i = 0; i < count; ++i) {
        if (scores[i] >= threshold) items_[sure_++] = {scores[i], scores[i], rows[i], true};
      }
    }
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(sure_), items_.end());
  }

  const std::vector<Candidate>& items() const { return items_; }

 private:
  static constexpr size_t kLoose = 1024;
  std::vector<Candidate> items_;
  size_t sure_ = 0;  // the first so many reach it, exactly scored
};

}  // namespace jmlr
