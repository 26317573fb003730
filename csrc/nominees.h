// What the scan of a chunk of rows nominates, gathered until the chunk is done and then handed on query by query: a
// query's list is fetched into the cache once and not for every row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "candidates.h"
#include "encode.h"
#include "kernel.h"
#include "topk.h"

namespace jmlr {

constexpr size_t kPairs = 16;

// Pairs of a query and a row of the chunk, with the scan's score, that get a second look together.
struct Pairs {
  size_t count = 0;
  size_t query[kPairs], row[kPairs];
  float score[kPairs];

  bool full() const { return count == kPairs; }
  void add(size_t of_query, size_t of_row, float scored) {
    query[count] = of_query;
    row[count] = of_row;
    score[count++] = scored;
  }
  // By both digits of the queries; the chunk begins with row `begin`.
  void score_again(const IndexView& index, const Kernel& kernel, const QueryBlock& fine, size_t begin) {
    SecondDigits digits[kPairs];
    for (size_t i = 0; i < count; ++i) {
      const RowBlock of_row = index.block(begin + row[i], 1);
      const QueryPanel& of_query = fine.panels()[query[i]].view;
      digits[i] = {&of_query, of_row.codes, *of_row.scale};
      if (kernel.add_second == nullptr) kernel.scan(of_query, of_row, score + i);
    }
    if (kernel.add_second != nullptr) kernel.add_second(digits, count, score);
  }
};

struct Nominee {
  uint32_t query;  // of the block
  Candidate candidate;
};

class Nominees {
 public:
  // So many at once that nothing grows while rows are scanned.
  Nominees() {
    held_.reserve(kMany);
    order_.reserve(kMany);
  }
  void add(size_t query, const Candidate& candidate) { held_.push_back({static_cast<uint32_t>(query), candidate}); }
  bool many() const { return held_.size() >= kMany; }  // a floor may have to rise before more come

  // Calls each(query, candidate) query by query, a query's in the order in which they came, and forgets all.
  template <class Each>
  void hand_on(const Each& each) {
    if (held_.empty()) return;
    uint32_t last = 0;
    for (const Nominee& n : held_) last = std::max(last, n.query);
    ends_.assign(last + 1, 0);
    for (const Nominee& n : held_) ++ends_[n.query];
    uint32_t sum = 0;
    for (uint32_t& end : ends_) end = sum += end;
    order_.resize(held_.size());
    for (size_t i = held_.size(); i-- > 0;) order_[--ends_[held_[i].query]] = static_cast<uint32_t>(i);
    for (const uint32_t i : order_) each(held_[i].query, held_[i].candidate);
    held_.clear();
  }

 private:
  static constexpr size_t kMany = 1u << 14;
  std::vector<Nominee> held_;
  std::vector<uint32_t> ends_;   // by query
  std::vector<uint32_t> order_;  // of all held, by query
};

}  // namespace jmlr
