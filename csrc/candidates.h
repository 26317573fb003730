// The rows that may still be among the k best of one query, as intervals that certainly hold their scores.
//
// Memory stays O(k): when the list is full, rows whose upper end lies below the k-th largest lower end are dropped; if
// that does not make room, the rest is scored exactly ("settled") and only k survive. How many queries are searched at
// once depends on that.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "copies.h"

namespace jmlr {

constexpr size_t kSettledAtOnce = 256;
constexpr size_t kListBytes = 512u << 20;  // of the lists of all threads
constexpr float kNoFloor = -std::numeric_limits<float>::infinity();

// An end that is NaN, which comes of numbers that no index should hold, says nothing: it then lies as far out as can
// be. So all comparisons order all candidates, which sorting relies on.
struct Candidate {
  float low, high;  // both the score itself once it is exact
  uint32_t row_low;
  uint32_t row_high : 31;
  uint32_t is_exact : 1;
  Candidate(float lower, float upper, int64_t number, bool known)
      : low(lower == lower ? lower : -std::numeric_limits<float>::infinity()),
        high(upper == upper ? upper : std::numeric_limits<float>::infinity()),
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
  bool by_row() const { return ids_ == nullptr; }  // rows come in the order of their ids
  int64_t id(int64_t row) const { return ids_ != nullptr ? ids_[row] : row; }
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.low > b.low || (a.low == b.low && id(a.row()) < id(b.row()));
  }

 private:
  const int64_t* ids_;
};

// Scores exactly what is not, many rows at once: while some are multiplied the next are fetched.
template <typename Score>
void score_all(std::span<Candidate> items, const Score& score) {
  int64_t rows[kSettledAtOnce];
  float scores[kSettledAtOnce];
  size_t at[kSettledAtOnce];
  for (size_t next = 0; next < items.size();) {
    size_t count = 0;
    for (; next < items.size() && count < kSettledAtOnce; ++next) {
      at[count] = next;
      rows[count] = items[next].row();
      count += static_cast<size_t>(items[next].is_exact == 0);
    }
    score(rows, count, scores);
    for (size_t i = 0; i < count; ++i) items[at[i]] = {scores[i], scores[i], rows[i], true};
  }
}

// Of its interval: close to its score, and no more than its upper end.
inline float middle_of(const Candidate& c) {
  const float middle = 0.5f * c.low + 0.5f * c.high;
  // NaN from -inf to inf, and where the data holds NaN; halves of subnormal numbers round up.
  return middle <= c.high ? middle : c.low <= c.high ? c.low : kNoFloor;
}

// The k-th largest middle (at least k are given), close to the k-th best score. At least k upper ends reach it.
inline float likely_kth(const std::vector<Candidate>& items, size_t k) {
  std::vector<float> middles;
  middles.reserve(items.size());
  for (const Candidate& c : items) middles.push_back(middle_of(c));
  const auto kth = middles.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(middles.begin(), kth, middles.end(), std::greater<>());
  return *kth;
}

// Drops all that cannot be among the k best and scores exactly about as few as prove it: first what reaches the score
// that the k-th best probably has, then what reaches the one that it has among these. `score(rows, count, out)` writes
// exact scores. Afterwards `items` holds min(k, size) exact candidates, in no order.
template <typename Score>
void settle(std::vector<Candidate>& items, size_t k, const BetterExact& better, const Score& score) {
  auto known = items.begin();  // what comes before is exact
  const auto know = [&](float floor) {
    const auto begin = known;
    known = std::partition(begin, items.end(), [=](const Candidate& c) { return !(c.high < floor); });  // NaN too
    score_all(std::span(begin, known), score);
    if (known == begin || items.size() <= k) return;
    std::nth_element(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(k - 1), known, better);
  };
  if (items.size() <= k) return know(kNoFloor);
  know(likely_kth(items, k));
  know(items[k - 1].low);
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(k), items.end());
}

// Counts of lower ends by height, so that "k lower ends reach this" is known after every one of them, not only after a
// selection. A bin remembers its least member, so how values fall into bins cannot make the floor wrong, only coarse.
class Heights {
 public:
  bool empty() const { return at_ == kBins; }
  void clear() { at_ = kBins; }

  // Starts over with the k largest of `lows` (at least k of them, in any order; reorders them).
  void reset(std::vector<float>& lows, size_t k) {
    const auto kth = lows.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(lows.begin(), kth, lows.end(), [](float a, float b) { return a > b; });
    const float top = *std::max_element(lows.begin(), kth + 1);
    base_ = *kth;
    // What comes later may be higher: half as much room again. Where the width is nothing all fall into bin 0.
    const float width = (top - base_) * 1.5f / kBins;
    per_height_ = width > 0.0f ? std::min(1.0f / width, std::numeric_limits<float>::max()) : 0.0f;
    std::fill(count_, count_ + kBins, 0u);
    std::fill(least_, least_ + kBins, std::numeric_limits<float>::infinity());
    at_ = 0;
    reaching_ = 0;
    for (auto low = lows.begin(); low <= kth; ++low) add(*low, k);
  }

  void add(float low, size_t k) {
    const float height = (low - base_) * per_height_;
    const size_t bin = height >= kBins - 1 ? kBins - 1 : height > 0.0f ? static_cast<size_t>(height) : 0;  // NaN: 0
    if (bin < at_) return;
    ++count_[bin];
    least_[bin] = std::min(least_[bin], low);
    ++reaching_;
    while (reaching_ - count_[at_] >= k) reaching_ -= count_[at_++];
  }

  // At least k lower ends reach it.
  float floor() const { return least_[at_]; }

 private:
  static constexpr size_t kBins = 128;
  float base_ = 0.0f;
  float per_height_ = 0.0f;
  size_t at_ = kBins;  // the highest bin that k lower ends reach
  size_t reaching_ = 0;
  uint32_t count_[kBins];
  float least_[kBins];
};

class CandidateList {
 public:
  void reset(size_t k) {
    k_ = k;
    items_.clear();
    heights_.clear();
    leave_room();
  }
  bool full() const { return items_.size() >= full_at_; }
  std::vector<Candidate>& items() { return items_; }
  const std::vector<Candidate>& items() const { return items_; }

  // Returns what k lower ends are now known to reach. A lower end below the `floor` that there is cannot help to raise
  // it, so it is not counted: where the floor was guessed, most are such.
  float push(const Candidate& c, float floor) {
    items_.push_back(c);
    if (heights_.empty() || c.low < floor) return kNoFloor;
    heights_.add(c.low, k_);
    return heights_.floor();
  }

  // No row whose upper end is below what k lower ends reach can enter, nor below a `floor` proved elsewhere. Drops the
  // rows so ruled out and returns the higher of the two.
  float compact(float floor) {
    if (items_.size() >= k_) {
      lows_.clear();
      for (const Candidate& c : items_) lows_.push_back(c.low);
      heights_.reset(lows_, k_);
      floor = std::max(floor, heights_.floor());
    }
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
  // The first time little room, to have a floor soon; then it rises by itself, and a compaction costs as much as the
  // list is long.
  void leave_room() {
    full_at_ = std::max(items_.size(), k_) + k_ + (heights_.empty() ? 64 : 192);
    if (items_.size() > k_) items_.reserve(full_at_);  // by itself a vector would take up to twice that
  }

  size_t k_ = 0;
  size_t full_at_ = 0;
  std::vector<Candidate> items_;
  std::vector<float> lows_;
  Heights heights_;
};

// How many of `most` queries may be searched at once: their lists take at most kListBytes, or it is one query.
inline size_t queries_at_once(size_t most, size_t k, size_t rows, size_t threads) {
  const size_t longest = std::min(4 * k + 960, rows);  // of a list: what settles it, and room for more
  const size_t bytes = (sizeof(Candidate) + sizeof(float)) * std::max(longest, size_t{1}) * threads;
  return std::clamp(kListBytes / bytes, size_t{1}, most);
}

// What one thread has proved holds for all: k rows reach `proved`.
inline void raise_floor(std::atomic<float>& floor, float proved) {
  float seen = floor.load(std::memory_order_relaxed);
  while (seen < proved && !floor.compare_exchange_weak(seen, proved, std::memory_order_relaxed)) {
  }
}

// Bounds too wide, or ties: only exact scores can tell.
inline bool crowded(const std::vector<Candidate>& items, size_t k) { return items.size() > 3 * k + 768; }

// Adds a candidate, makes room where there is none, and raises the floor to what is then known. `thin` may take from a
// crowd those that need no exact score.
template <typename Thin, typename Score>
void admit(CandidateList& list, const Candidate& candidate, size_t k, std::atomic<float>& floor,
           const BetterExact& better, const Thin& thin, const Score& score) {
  const float reached = list.push(candidate, floor.load(std::memory_order_relaxed));
  if (!list.full()) return raise_floor(floor, reached);
  float known = list.compact(floor.load(std::memory_order_relaxed));
  if (crowded(list.items(), k)) {
    thin(list.items());
    if (crowded(list.items(), k)) settle(list.items(), k, better, score);
    known = list.compact(known);
  }
  raise_floor(floor, known);
}

// One query's candidates in the lists of all threads.
template <typename Worker>
std::vector<Candidate> candidates_of(const std::vector<Worker>& workers, size_t q) {
  std::vector<Candidate> all;
  for (const Worker& worker : workers) {
    if (worker.lists.empty()) continue;  // a thread that never came to life
    const std::vector<Candidate>& held = worker.lists[q].items();
    all.insert(all.end(), held.begin(), held.end());
  }
  return all;
}

// The k best, in order, of one query's candidates in the lists of all threads.
template <typename Worker, typename Thin, typename Score>
std::vector<Candidate> best_of(std::vector<Worker>& workers, size_t q, size_t k, float floor, const BetterExact& better,
                               const Thin& thin, const Score& score) {
  CandidateList all;
  all.reset(k);
  all.items() = candidates_of(workers, q);
  if (crowded(all.items(), k)) all.compact(floor);
  std::vector<Candidate> best = std::move(all.items());
  if (crowded(best, k)) thin(best);
  settle(best, k, better, score);
  std::sort(best.begin(), best.end(), better);
  return best;
}

inline const Copies* known_copies(const Copies* copies) {
  return copies != nullptr && copies->known() ? copies : nullptr;
}

// Their originals stand for them.
inline void drop_copies(std::vector<Candidate>& items, const Copies* copies) {
  if (copies == nullptr) return;
  std::erase_if(items, [&](const Candidate& c) { return copies->is_copy(static_cast<size_t>(c.row())); });
}

inline void keep_best(std::vector<Candidate>& items, size_t k, const BetterExact& better) {
  std::sort(items.begin(), items.end(), better);
  if (items.size() > k) items.erase(items.begin() + static_cast<std::ptrdiff_t>(k), items.end());
}

// The k best rows, in order, from the k best of which some stand for their copies too (null: none does). A copy comes
// after its original: where it may be among the k best, that one is.
inline std::vector<Candidate> with_copies(std::vector<Candidate> best, const Copies* copies, size_t k,
                                          const BetterExact& better) {
  if (copies == nullptr) return best;
  std::vector<Candidate> all;
  for (const Candidate& c : best) {
    if (copies->is_copy(static_cast<size_t>(c.row()))) continue;
    if (all.size() >= k && c.low < all.back().low) break;
    const std::span<const int64_t> alike = copies->alike(c.row());
    if (alike.empty()) all.push_back(c);
    for (size_t i = 0; i < std::min(alike.size(), k); ++i) all.emplace_back(c.low, c.low, alike[i], true);
    if (all.size() >= 2 * k) keep_best(all, k, better);
  }
  keep_best(all, k, better);
  return all;
}

// The rows with the k lowest ids, in order, for a query that scores +0 with all; each(found) calls found(row) for those
// that it may have, ascending.
template <typename Each>
std::vector<Candidate> first_rows(const Each& each, size_t k, const BetterExact& better) {
  std::vector<Candidate> best;
  each([&](size_t row) {
    if (better.by_row() && best.size() == k) return;
    best.emplace_back(0.0f, 0.0f, static_cast<int64_t>(row), true);
    if (best.size() >= 2 * k + 1024) keep_best(best, k, better);
  });
  keep_best(best, k, better);
  return best;
}

// Writes k scores and ids; where `best` is shorter, -inf and -1.
inline void write_out(const std::vector<Candidate>& best, size_t k, const BetterExact& better, float* scores,
                      int64_t* ids) {
  for (size_t i = 0; i < k; ++i) {
    scores[i] = i < best.size() ? best[i].low : kNoFloor;
    ids[i] = i < best.size() ? better.id(best[i].row()) : -1;
  }
}

}  // namespace jmlr
