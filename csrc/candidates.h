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

  // No row whose upper end is below what k lower ends reach can enter, nor below a `floor` proved elsewhere. Drops the
  // rows so ruled out and returns the higher of the two.
  float compact(float floor) {
    if (items_.size() >= k_) floor = std::max(floor, reached_by_k(floor));
    size_t kept = 0;
    for (const Candidate& c : items_) {  // without a branch: which go is anybody's guess
      items_[kept] = c;
      kept += static_cast<size_t>(!(c.high < floor));
    }
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(kept), items_.end());
    leave_room();
    return floor;
  }

 private:
  // A value that at least k lower ends reach, and few more than k: by halving an interval, which runs in vectors and
  // does not mispredict as selection does; by selection where values lie so unevenly that halving does not get there.
  float reached_by_k(float floor) {
    lows_.clear();
    for (const Candidate& c : items_) lows_.push_back(c.low);
    float top = lows_[0];
    float value = lows_[0];
    for (const float low : lows_) {
      top = std::max(top, low);
      value = std::min(value, low);
    }
    size_t reached = lows_.size();
    if (const size_t count = count_reaching(floor); value < floor && count >= k_) {
      value = floor;
      reached = count;
    }
    for (int step = 0; step < 12 && reached > k_ + k_ / 16; ++step) {
      const float middle = value + (top - value) * 0.5f;
      const size_t count = count_reaching(middle);
      if (count >= k_) {
        value = middle;
        reached = count;
      } else {
        top = middle;
      }
    }
    if (reached > k_ + k_ / 4 + 8) {
      const auto kth = lows_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
      std::nth_element(lows_.begin(), kth, lows_.end(), [](float a, float b) { return a > b; });
      value = *kth;
    }
    return value;
  }

  size_t count_reaching(float value) const {
    uint32_t count = 0;
    for (const float low : lows_) count += static_cast<uint32_t>(low >= value);
    return count;
  }

  // Little room means a floor that is seldom stale; each compaction costs as much as the list is long.
  void leave_room() { full_at_ = std::max(items_.size(), k_) + k_ + 64; }

  size_t k_ = 0;
  size_t full_at_ = 0;
  std::vector<Candidate> items_;
  std::vector<float> lows_;
};

}  // namespace jmlr
