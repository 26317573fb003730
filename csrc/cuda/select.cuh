// Between scans, a block for each query: raise the floor, drop who is below it; at the end the k best, in order.
#pragma once

#include "cuda/nominate.cuh"

namespace jmlr::cuda {

constexpr uint32_t kSelectThreads = 256;

struct Select {
  Candidates list;
  Ids ids;
};

struct Finish {
  Select best;
  uint32_t count;        // queries
  const int32_t* which;  // [B] the query of the call that list number j is for; null: j
  float* scores;         // [B of the call, k]
  int64_t* out_ids;      // [B of the call, k]
};

// Sum over the block, the same in all threads. Ends with a barrier, so that its memory can be used again at once.
JMLR_DEVICE uint32_t block_sum(uint32_t value) {
  __shared__ uint32_t parts[kSelectThreads / 32];
  for (uint32_t mask = 16; mask != 0; mask /= 2) value += lane_xor(value, mask);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  uint32_t sum = 0;
  for (uint32_t i = 0; i < kSelectThreads / 32; ++i) sum += parts[i];
  __syncthreads();
  return sum;
}

// A key that at least k of the n `key(i)` reach, and as few more as can be: the k-th largest, or one below it that no
// further key reaches. Found bit by bit: counting needs no histogram, on whose few hot bins atomics would queue.
template <typename Word, typename Key>
JMLR_DEVICE Word reached_by(uint32_t k, uint32_t n, const Key& key) {
  Word prefix = 0;
  for (Word bit = Word{1} << (8 * sizeof(Word) - 1); bit != 0; bit >>= 1) {
    const Word trial = prefix | bit;
    uint32_t mine = 0;
    for (uint32_t i = threadIdx.x; i < n; i += kSelectThreads) mine += static_cast<uint32_t>(key(i) >= trial);
    const uint32_t reached = block_sum(mine);
    if (reached >= k) prefix = trial;
    if (reached == k) break;
  }
  return prefix;
}

// Keeps the candidates for which keep(i) and returns how many. In place: what is written lies at or before what has
// been read, and a barrier parts the two.
template <typename Keep>
JMLR_DEVICE uint32_t compact(const Candidates& list, size_t base, uint32_t n, const Keep& keep) {
  __shared__ uint32_t before[kSelectThreads / 32];
  uint32_t kept = 0;
  for (uint32_t first = 0; first < n; first += kSelectThreads) {
    const uint32_t i = first + threadIdx.x;
    const bool mine = i < n && keep(i);
    float low = 0.0f;
    float high = 0.0f;
    uint32_t row = 0;
    if (mine) {
      low = list.low[base + i];
      high = list.high[base + i];
      row = list.row[base + i];
    }
    const uint32_t lanes = lanes_where(mine);
    if (threadIdx.x % 32 == 0) before[threadIdx.x / 32] = bits_set(lanes);
    __syncthreads();
    uint32_t slot = kept + bits_set(lanes & ((1u << (threadIdx.x % 32)) - 1u));
    for (uint32_t w = 0; w < kSelectThreads / 32; ++w) {
      if (w < threadIdx.x / 32) slot += before[w];
      kept += before[w];
    }
    if (mine) {
      list.low[base + slot] = low;
      list.high[base + slot] = high;
      list.row[base + slot] = row;
    }
    __syncthreads();
  }
  return kept;
}

// After a phase: what k lower ends reach is the new floor; whose upper end is below it goes.
JMLR_KERNEL(kSelectThreads, 4) tighten_kernel(Candidates list) {
  const uint32_t query = blockIdx.x;
  const size_t base = static_cast<size_t>(query) * list.capacity;
  const uint32_t n = least(list.count[query], list.capacity);
  float floor = list.floor[query];
  if (floor == kInfinity) {  // not scanned, so what the list holds was never written
    if (threadIdx.x == 0) list.count[query] = 0;
    return;  // the whole block
  }
  if (n >= list.k) {
    const auto key = [&](uint32_t i) { return score_key(list.low[base + i]); };
    floor = most(floor, score_of_key(reached_by<uint32_t>(list.k, n, key)));
  }
  const uint32_t kept = compact(list, base, n, [&](uint32_t i) { return list.high[base + i] >= floor; });
  if (threadIdx.x == 0) {
    list.floor[query] = floor;
    list.count[query] = kept;
  }
}

// Of candidates with exact scores (in `low`) the k best by (score descending, id ascending), in no order.
JMLR_KERNEL(kSelectThreads, 4) keep_best_kernel(Select a) {
  const Candidates& list = a.list;
  const uint32_t query = blockIdx.x;
  const size_t base = static_cast<size_t>(query) * list.capacity;
  const uint32_t n = least(list.count[query], list.capacity);
  if (n <= list.k) return;  // the whole block
  const auto score = [&](uint32_t i) { return score_key(list.low[base + i]); };
  const uint32_t reached = reached_by<uint32_t>(list.k, n, score);
  uint32_t above = 0;
  uint32_t ties = 0;
  for (uint32_t i = threadIdx.x; i < n; i += kSelectThreads) {
    above += static_cast<uint32_t>(score(i) > reached);
    ties += static_cast<uint32_t>(score(i) == reached);
  }
  above = block_sum(above);
  ties = block_sum(ties);
  uint64_t lowest = 0;  // least inverted id of a tie that stays
  if (above + ties > list.k) {
    const auto inverted = [&](uint32_t i) {
      return score(i) == reached ? ~static_cast<uint64_t>(a.ids.of(query, list.row[base + i])) : 0;
    };
    lowest = reached_by<uint64_t>(list.k - above, n, inverted);
  }
  const uint32_t kept = compact(list, base, n, [&](uint32_t i) {
    const uint32_t key = score(i);
    return key > reached || (key == reached && ~static_cast<uint64_t>(a.ids.of(query, list.row[base + i])) >= lowest);
  });
  if (threadIdx.x == 0) list.count[query] = kept;
}

// One of the k best while they are sorted.
struct Ranked {
  uint64_t inverted_id;
  uint32_t key, slot;
  JMLR_DEVICE bool before(const Ranked& other) const {
    return key > other.key || (key == other.key && inverted_id > other.inverted_id);
  }
};

// Sorts the k best in shared memory (a bitonic network over the next power of two) and writes them out.
JMLR_KERNEL(kSelectThreads, 1) finish_kernel(Finish a) {
  auto* ranked = reinterpret_cast<Ranked*>(shared_memory());
  const Candidates& list = a.best.list;
  const size_t base = static_cast<size_t>(blockIdx.x) * list.capacity;
  const uint32_t n = least(list.count[blockIdx.x], list.k);
  uint32_t size = 1;
  while (size < list.k) size *= 2;
  for (uint32_t i = threadIdx.x; i < size; i += kSelectThreads) {
    ranked[i] = {0, 0, 0};  // padding: after everything, since no score's key is 0
    if (i < n) {
      ranked[i] = {~static_cast<uint64_t>(a.best.ids.of(blockIdx.x, list.row[base + i])), score_key(list.low[base + i]),
                   i};
    }
  }
  for (uint32_t width = 2; width <= size; width *= 2) {
    for (uint32_t step = width / 2; step != 0; step /= 2) {
      __syncthreads();
      for (uint32_t i = threadIdx.x; i < size; i += kSelectThreads) {
        const uint32_t j = i ^ step;
        const bool descending = (i & width) == 0;
        if (j > i && (descending ? ranked[j].before(ranked[i]) : ranked[i].before(ranked[j]))) {
          const Ranked other = ranked[i];
          ranked[i] = ranked[j];
          ranked[j] = other;
        }
      }
    }
  }
  __syncthreads();
  const size_t out =
      static_cast<size_t>(a.which != nullptr ? a.which[blockIdx.x] : static_cast<int32_t>(blockIdx.x)) * list.k;
  for (uint32_t i = threadIdx.x; i < list.k; i += kSelectThreads) {
    a.scores[out + i] = i < n ? list.low[base + ranked[i].slot] : -kInfinity;
    a.out_ids[out + i] = i < n ? static_cast<int64_t>(~ranked[i].inverted_id) : -1;
  }
}

}  // namespace jmlr::cuda
