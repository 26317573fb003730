// The rows that may still be among the k best of one query, as intervals that certainly hold their scores.
//
// Memory stays O(k): when the list is full, rows whose upper end lies below the k-th largest lower end are dropped; if
// that does not make room, the rest is scored exactly ("settled") and only k survive.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace jmlr {

constexpr size_t kSettledAtOnce = 64;
constexpr float kNoFloor = -std::numeric_limits<float>::infinity();

struct Candidate {
  float low, high;  // both the score itself once it is exact
  uint32_t row_low;
  uint32_t row_high : 31;
  uint32_t is_exact : 1;
  Candidate(float lower, float upper, int64_t number, bool known)
      : low(lower),
        high(upper),
        row_low(static_cast<uint32_t>(number)),
        row_high(static_cast<uint32_t>(number >> 32) & 0x7fffffffu),
        is_exact(known) {}
  int64_t row() const { return static_cast<int64_t>(row_high) << 32 | row_low; }
};
static_assert(sizeof(Candidate) == 16);

// The contract's total order: score descending, id ascending. `ids` may be null: then the row number is the id.
class BetterExact {
 public:
  explicit BetterExact(const int64_t* ids) : ids_(ids) {}
  int64_t id(int64_t row) const { return ids_ != nullptr ? ids_[row] : row; }
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.low > b.low || (a.low == b.low && id(a.row()) < id(b.row()));
  }

 private:
  const int64_t* ids_;
};

// Drops all that cannot be among the k best and scores exactly as few as prove it, best upper end first.
// `score(rows, count, out)` writes exact scores. Afterwards `items` holds min(k, size) exact candidates, in no order.
template <typename Score>
void settle(std::vector<Candidate>& items, size_t k, const BetterExact& better, const Score& score) {
  const auto by_high = [](const Candidate& a, const Candidate& b) { return a.high > b.high; };
  auto done = std::partition(items.begin(), items.end(), [](const Candidate& c) { return c.is_exact == 1; });
  std::sort(done, items.end(), by_high);
  std::vector<Candidate> best(items.begin(), done);
  int64_t rows[kSettledAtOnce];
  float scores[kSettledAtOnce];
  const auto keep_k_best = [&] {
    if (best.size() <= k) return;
    std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(k), best.end(), better);
    best.erase(best.begin() + static_cast<std::ptrdiff_t>(k), best.end());
  };
  keep_k_best();
  float floor = kNoFloor;  // the k-th best exact score so far
  const auto raise_floor = [&] {
    if (best.size() < k) return;
    for (const Candidate& c : best) floor = &c == &best.front() ? c.low : std::min(floor, c.low);
  };
  raise_floor();
  for (auto next = done; next != items.end();) {
    size_t count = 0;
    for (; next != items.end() && count < kSettledAtOnce && next->high >= floor; ++next) rows[count++] = next->row();
    if (count == 0) break;  // sorted: nothing further can enter either
    score(rows, count, scores);
    for (size_t i = 0; i < count; ++i) {
      if (!(scores[i] < floor)) best.push_back({scores[i], scores[i], rows[i], true});
    }
    keep_k_best();
    raise_floor();
  }
  items.swap(best);
}

class CandidateList {
 public:
  void reset(size_t k) {
    k_ = k;
    items_.clear();
    leave_room();
  }
  bool full() const { return items_.size() >= full_at_; }
  void push(const Candidate& c) { items_.push_back(c); }
  std::vector<Candidate>& items() { return items_; }

  // No row whose upper end is below the k-th largest lower end can enter, nor below a `floor` proved elsewhere. Drops
  // the rows so ruled out and returns the higher of the two.
  float compact(float floor) {
    if (items_.size() >= k_) {
      lows_.clear();
      for (const Candidate& c : items_) lows_.push_back(c.low);
      const auto kth = lows_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
      std::nth_element(lows_.begin(), kth, lows_.end(), [](float a, float b) { return a > b; });
      floor = std::max(floor, *kth);
    }
    std::erase_if(items_, [floor](const Candidate& c) { return c.high < floor; });
    leave_room();
    return floor;
  }

 private:
  // Little room means a floor that is seldom stale; each compaction costs as much as the list is long.
  void leave_room() { full_at_ = std::max(items_.size(), k_) + k_ + 64; }

  size_t k_ = 0;
  size_t full_at_ = 0;
  std::vector<Candidate> items_;
  std::vector<float> lows_;
};

}  // namespace jmlr
