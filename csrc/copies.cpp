#include "copies.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "checksum.h"

namespace jmlr {
namespace {

constexpr size_t kGlance = 16;  // numbers of a row that are compared first: a cache line

struct Suspect {
  uint64_t sum;
  int64_t row;
};

uint64_t sum_of(std::span<const float> row) {
  return checksum(reinterpret_cast<const unsigned char*>(row.data()), row.size_bytes());
}

// Rows that share norm and first numbers with another, and a few more: each is noted in a table of one bit, and who
// finds it set is noted in a second.
std::vector<Suspect> suspects(const Copies::RowAt& row_at, const float* norm, size_t rows) {
  const size_t bits = std::bit_ceil(16 * rows);
  std::vector<uint64_t> once(bits / 64 + 1), twice(bits / 64 + 1);
  std::vector<uint64_t> place(rows);
  for (size_t r = 0; r < rows; ++r) {
    uint32_t length;
    std::memcpy(&length, norm + r, sizeof length);
    const std::span<const float> row = row_at(r);
    const uint64_t sum = sum_of(row.first(std::min(row.size(), kGlance))) ^ length * 0x9e3779b97f4a7c15u;
    place[r] = (sum ^ sum >> 32) & (bits - 1);
    const uint64_t bit = uint64_t{1} << (place[r] % 64);
    twice[place[r] / 64] |= once[place[r] / 64] & bit;
    once[place[r] / 64] |= bit;
  }
  std::vector<Suspect> found;
  for (size_t r = 0; r < rows; ++r) {
    if ((twice[place[r] / 64] >> (place[r] % 64) & 1) == 0) continue;
    found.push_back({sum_of(row_at(r)), static_cast<int64_t>(r)});
  }
  return found;
}

}  // namespace

void Copies::find(const RowAt& row_at, const float* norm, const int64_t* ids, size_t rows) {
  if (begun_.exchange(true)) return;
  try {
    find_now(row_at, norm, ids, rows);
  } catch (...) {  // memory has run out: perhaps it does not the next time
    begun_.store(false);
    throw;
  }
}

void Copies::find_now(const RowAt& row_at, const float* norm, const int64_t* ids, size_t rows) {
  std::vector<Suspect> found = suspects(row_at, norm, rows);
  std::sort(found.begin(), found.end(), [&](const Suspect& a, const Suspect& b) {
    if (a.sum != b.sum) return a.sum < b.sum;
    return ids != nullptr ? ids[a.row] < ids[b.row] : a.row < b.row;
  });
  bits_.assign(rows / 64 + 2, 0);
  rows_.clear();
  starts_.clear();
  groups_.clear();
  for (size_t first = 0, last; first < found.size(); first = last) {
    const size_t start = rows_.size();
    rows_.push_back(found[first].row);
    const std::span<const float> original = row_at(static_cast<size_t>(found[first].row));
    for (last = first + 1; last < found.size() && found[last].sum == found[first].sum; ++last) {
      const int64_t row = found[last].row;
      const std::span<const float> copy = row_at(static_cast<size_t>(row));
      if (copy.size() != original.size() || std::memcmp(copy.data(), original.data(), original.size_bytes()) != 0) {
        continue;  // as good as never, with one sum
      }
      rows_.push_back(row);
      bits_[static_cast<size_t>(row) / 64] |= uint64_t{1} << (row % 64);
    }
    if (rows_.size() == start + 1) {
      rows_.pop_back();
      continue;
    }
    for (size_t at = start; at < rows_.size(); ++at) groups_.push_back({rows_[at], starts_.size()});
    starts_.push_back(start);
  }
  starts_.push_back(rows_.size());
  std::sort(groups_.begin(), groups_.end(), [](const Place& a, const Place& b) { return a.row < b.row; });
  known_.store(!rows_.empty(), std::memory_order_release);
}

bool Copies::any(size_t first, size_t count) const {
  for (size_t word = first / 64; word <= (first + count - 1) / 64; ++word) {
    if (bits_[word] != 0) return true;
  }
  return false;
}

std::span<const int64_t> Copies::alike(int64_t row) const {
  const auto at = std::lower_bound(groups_.begin(), groups_.end(), row,
                                   [](const Place& place, int64_t wanted) { return place.row < wanted; });
  if (at == groups_.end() || at->row != row) return {};
  return {rows_.data() + starts_[at->group], starts_[at->group + 1] - starts_[at->group]};
}

}  // namespace jmlr
