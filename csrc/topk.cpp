#include "topk.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "candidates.h"

namespace jmlr {
namespace {

constexpr size_t kQueriesAtOnce = 512;   // bounds the candidates held at a time
constexpr size_t kStreamingQueries = 2;  // up to here one row at a time beats tiles
constexpr size_t kTileRows = 96;         // rows scored before their scores are filtered: fits L2 beside a panel
constexpr size_t kChunkRows = 768;       // rows claimed at a time

// All that one thread needs for a block of queries.
struct Worker {
  std::vector<CandidateList> lists;  // by query
  AlignedBuffer<float> floor;        // by padded query slot: what a row's upper end must reach
  AlignedBuffer<float> scores;       // [kTileRows, panel width]
  std::vector<Hit> hits;
  std::vector<float> sample;  // scores of the rows that the first floors come from
  SearchCounts counts;
};

// One block of at most kQueriesAtOnce queries against the whole index.
class BlockSearch {
 public:
  BlockSearch(const IndexView& index, const float* queries, size_t count, size_t k, const SearchOptions& options)
      : index_(index),
        kernel_(options.kernels.scan[static_cast<int>(index.storage)]),
        filter_(options.kernels.filter),
        rescore_(options.kernels.rescore),
        streaming_(count <= kStreamingQueries),
        block_(index.storage, kernel_, queries, count, index.dim, streaming_),
        fine_(index.storage, kernel_, queries, streaming_ || index.storage == Storage::float32 ? 0 : count, index.dim,
              true),
        k_(k),
        limit_(3 * k + 768),
        better_(index.ids),
        floors_(new std::atomic<float>[count]),
        exact_(count, false) {
    for (size_t q = 0; q < count; ++q) {
      floors_[q].store(kNoFloor, std::memory_order_relaxed);
      // With k of all rows wanted there is nothing to rule out; with huge norms float32 cannot be trusted to.
      exact_[q] = k >= index.rows || !block_.scannable(q, index.max_norm);
    }
  }

  SearchCounts run(Team& team, float* scores, int64_t* ids) {
    std::vector<Worker> workers(team.threads());
    // With many queries every thread takes some panels past all rows: a query then has one list, whose floor rises
    // faster than those of a list per thread. With few, threads share the rows, so that memory is read once: the more
    // bytes a row has, the more queries it takes to pay for reading them again.
    const size_t panels = block_.panels().size();
    const size_t bytes = index_.storage == Storage::float32 ? 4 : index_.storage == Storage::bfloat16 ? 2 : 1;
    const bool by_panel = panels >= bytes * team.threads();
    WorkQueue work(by_panel ? panels : index_.rows,
                   by_panel ? std::max(panels / (2 * team.threads()), size_t{1}) : kChunkRows);
    team.run([&](size_t me) {
      Worker& worker = workers[me];
      prepare(worker);
      for (size_t begin, end; !team.stopping(me) && work.claim(&begin, &end);) {
        if (!by_panel) {
          scan(worker, begin, end, 0, panels);
          continue;
        }
        for (size_t p = begin; p < end; ++p) warm_up(worker, block_.panels()[p]);
        for (size_t row = 0; row < index_.rows && !team.stopping(me); row += kChunkRows) {
          scan(worker, row, std::min(row + kChunkRows, index_.rows), begin, end);
        }
      }
    });
    WorkQueue queries(block_.count(), 1);
    team.run([&](size_t me) {
      for (size_t q, end; !team.stopping(me) && queries.claim(&q, &end);) {
        finish(workers, workers[me].counts, q, scores + q * k_, ids + q * k_);
      }
    });
    SearchCounts counts;
    for (const Worker& worker : workers) {
      counts.nominated += worker.counts.nominated;
      counts.rescored += worker.counts.rescored;
    }
    return counts;
  }

 private:
  auto scorer(SearchCounts& counts, size_t q) {
    return [this, &counts, q](const int64_t* rows, size_t count, float* out) {
      score_exactly(counts, q, rows, count, out);
    };
  }

  void prepare(Worker& worker) const {
    worker.lists.resize(block_.count());
    for (CandidateList& list : worker.lists) list.reset(k_);
    const size_t width = 2 * kernel_.lanes;
    worker.floor = AlignedBuffer<float>(width);
    worker.scores = AlignedBuffer<float>(kTileRows * width);
    worker.hits.resize(kTileRows * width);
  }

  // Rows [begin, end) against panels [from, to).
  void scan(Worker& worker, size_t begin, size_t end, size_t from, size_t to) {
    const std::vector<QueryBlock::Panel>& panels = block_.panels();
    for (size_t first = begin; first < end; first += kTileRows) {
      const size_t count = std::min(kTileRows, end - first);
      for (size_t p = from; p < to; ++p) {
        scan_tile(worker, panels[p], first, count);
        for (size_t q = panels[p].first; q < panels[p].first + panels[p].count; ++q) {
          if (exact_[q]) scan_exactly(worker, q, first, count);
        }
      }
    }
  }

  void scan_tile(Worker& worker, const QueryBlock::Panel& panel, size_t first, size_t count) {
    const size_t width = panel.view.width;
    bool any = false;
    for (size_t j = 0; j < width; ++j) {
      const size_t q = panel.first + j;
      const bool wanted = j < panel.count && !exact_[q];
      worker.floor[j] = wanted ? scan_floor(q) : std::numeric_limits<float>::infinity();
      any = any || wanted;
    }
    if (!any) return;
    kernel_.scan(panel.view, rows_at(first, count), worker.scores.data());
    nominate(worker, panel, first, count);
  }

  RowBlock rows_at(size_t first, size_t count) const {
    RowBlock rows{nullptr, 0, count, index_.scale != nullptr ? index_.scale + first : nullptr};
    if (index_.storage == Storage::float32) {
      rows.stride = index_.dim * sizeof(float);
      rows.codes = index_.vectors + first * index_.dim;
    } else {
      rows.stride = code_stride(index_.storage, index_.dim);
      rows.codes = index_.codes + first * rows.stride;
    }
    return rows;
  }

  // Floors from a sample of tiles all over the index, before anything is nominated: without one the first rows all are.
  // Halves an interval for all queries of the panel at once, until about k sampled scores lie above it.
  void warm_up(Worker& worker, const QueryBlock::Panel& panel) {
    const size_t tiles = std::clamp(64 * k_, size_t{2048}, size_t{16384}) / kTileRows;
    const size_t sampled = tiles * kTileRows;
    if (sampled < k_ || index_.rows < 8 * sampled)
      return;  // fewer than k rows prove nothing; more must pay for themselves
    const size_t width = panel.view.width;
    worker.sample.resize(sampled * width);
    float largest_residual = 0.0f;
    float largest_norm = 0.0f;
    for (size_t t = 0; t < tiles; ++t) {
      const size_t first = t * (index_.rows / tiles);
      kernel_.scan(panel.view, rows_at(first, kTileRows), worker.scores.data());
      std::copy(worker.scores.data(), worker.scores.data() + kTileRows * width,
                worker.sample.data() + t * kTileRows * width);
      if (index_.residual != nullptr)
        largest_residual = std::max(largest_residual, max_of(index_.residual + first, kTileRows));
      largest_norm = std::max(largest_norm, max_of(index_.norm + first, kTileRows));
    }
    float low[128], high[128], middle[128];
    uint32_t count[128];
    std::fill(low, low + width, std::numeric_limits<float>::infinity());
    std::fill(high, high + width, kNoFloor);
    for (size_t i = 0; i < worker.sample.size(); i += width) {
      for (size_t j = 0; j < width; ++j) {
        low[j] = std::min(low[j], worker.sample[i + j]);
        high[j] = std::max(high[j], worker.sample[i + j]);
      }
    }
    for (int step = 0; step < 10; ++step) {
      for (size_t j = 0; j < width; ++j) middle[j] = low[j] + (high[j] - low[j]) * 0.5f;
      std::fill(count, count + width, 0u);
      for (size_t i = 0; i < worker.sample.size(); i += width) {
        for (size_t j = 0; j < width; ++j) count[j] += static_cast<uint32_t>(worker.sample[i + j] >= middle[j]);
      }
      for (size_t j = 0; j < width; ++j) (count[j] >= k_ ? low[j] : high[j]) = middle[j];
    }
    for (size_t j = 0; j < panel.count; ++j) {
      const size_t q = panel.first + j;
      const ErrorBound& bound = block_.bound(q);
      const float error = bound.residual_weight * largest_residual + bound.norm_weight * largest_norm + bound.constant;
      if (!exact_[q]) raise_floor(q, low[j] - error);
    }
  }

  // A row is let in if its upper end reaches the floor; the constant of the bound is moved over to the floor.
  float scan_floor(size_t q) const {
    const float floor = floors_[q].load(std::memory_order_relaxed) - block_.bound(q).constant;
    return std::nextafter(floor, kNoFloor);
  }

  void nominate(Worker& worker, const QueryBlock::Panel& panel, size_t first, size_t count) {
    static const float kZeros[kTileRows] = {};
    const float* residual = index_.residual != nullptr ? index_.residual + first : kZeros;
    const float* norm = index_.norm + first;
    const size_t width = panel.view.width;
    float residual_weight[128] = {};
    float norm_weight[128] = {};
    for (size_t j = 0; j < panel.count; ++j) {
      residual_weight[j] = block_.bound(panel.first + j).residual_weight;
      norm_weight[j] = block_.bound(panel.first + j).norm_weight;
    }
    FilterTerms terms{worker.scores.data(), count,       width,   residual,           norm,
                      residual_weight,      norm_weight, nullptr, worker.floor.data()};
    if (width == 1) {  // the streaming path: scores are [1, count]
      terms = {worker.scores.data(), 1,      count, residual_weight, norm_weight, residual, norm,
               worker.floor.data(),  nullptr};
    }
    const size_t found = filter_(terms, worker.hits.data());
    worker.counts.nominated += found;
    for (size_t h = 0; h < found; ++h) {
      const size_t row = width == 1 ? worker.hits[h].j : worker.hits[h].i;
      const size_t j = width == 1 ? 0 : worker.hits[h].j;
      if (j >= panel.count || exact_[panel.first + j]) continue;  // where norms are huge, scores may be NaN
      const size_t q = panel.first + j;
      const float floor = floors_[q].load(std::memory_order_relaxed);
      const bool refine = fine_.count() != 0 && floor > kNoFloor;  // before there is a floor nothing can be ruled out
      const ErrorBound& bound = refine ? fine_.bound(q) : block_.bound(q);
      const float score = refine ? rescan(q, first + row) : worker.scores[row * width + j];
      const float error = bound.residual_weight * residual[row] + bound.norm_weight * norm[row] + bound.constant;
      if (score + error < floor) continue;
      push(worker, q, {score - error, score + error, static_cast<int64_t>(first + row), false});
    }
  }

  // The row's codes are still in cache: looking at them again with the finer query rules most of the tile's hits out.
  float rescan(size_t q, size_t row) const {
    const size_t stride = code_stride(index_.storage, index_.dim);
    float score;
    kernel_.scan(fine_.panels()[q].view,
                 {index_.codes + row * stride, stride, 1, index_.scale != nullptr ? index_.scale + row : nullptr},
                 &score);
    return score;
  }

  void scan_exactly(Worker& worker, size_t q, size_t first, size_t count) {
    int64_t rows[kTileRows];
    float scores[kTileRows];
    for (size_t i = 0; i < count; ++i) rows[i] = static_cast<int64_t>(first + i);
    score_exactly(worker.counts, q, rows, count, scores);
    const float floor = floors_[q].load(std::memory_order_relaxed);
    for (size_t i = 0; i < count; ++i) {
      if (!(scores[i] < floor)) push(worker, q, {scores[i], scores[i], rows[i], true});
    }
  }

  void push(Worker& worker, size_t q, const Candidate& candidate) {
    CandidateList& list = worker.lists[q];
    list.push(candidate);
    if (!list.full()) return;
    float floor = list.compact(floors_[q].load(std::memory_order_relaxed));
    if (list.items().size() > limit_) {  // bounds too wide, or ties: only exact scores can tell
      settle(list.items(), k_, better_, scorer(worker.counts, q));
      floor = list.compact(floor);
    }
    raise_floor(q, floor);
  }

  // What one thread has proved holds for all: k rows reach `floor`.
  void raise_floor(size_t q, float floor) {
    float seen = floors_[q].load(std::memory_order_relaxed);
    while (seen < floor && !floors_[q].compare_exchange_weak(seen, floor, std::memory_order_relaxed)) {
    }
  }

  void finish(std::vector<Worker>& workers, SearchCounts& counts, size_t q, float* scores, int64_t* ids) {
    CandidateList all;
    all.reset(k_);
    for (Worker& worker : workers) {
      if (worker.lists.empty()) continue;  // a thread that never came to life
      for (const Candidate& c : worker.lists[q].items()) all.push(c);
    }
    all.compact(floors_[q].load(std::memory_order_relaxed));
    std::vector<Candidate>& best = all.items();
    settle(best, k_, better_, scorer(counts, q));
    std::sort(best.begin(), best.end(), better_);
    for (size_t i = 0; i < k_; ++i) {
      scores[i] = i < best.size() ? best[i].low : kNoFloor;
      ids[i] = i < best.size() ? better_.id(best[i].row()) : -1;
    }
  }

  void score_exactly(SearchCounts& counts, size_t q, const int64_t* rows, size_t count, float* out) const {
    static_assert(kTileRows >= kSettledAtOnce);
    const float* pointers[kTileRows];
    for (size_t i = 0; i < count; ++i) pointers[i] = index_.vectors + static_cast<size_t>(rows[i]) * index_.dim;
    rescore_(block_.query(q), pointers, count, index_.dim, out);
    counts.rescored += count;
  }

  const IndexView& index_;
  const Kernel kernel_;
  const FilterFn filter_;
  const RescoreFn rescore_;
  const bool streaming_;
  const QueryBlock block_;
  const QueryBlock fine_;  // the same queries with a second digit: empty where block_ is as fine
  const size_t k_;
  const size_t limit_;  // candidates that compacting may leave
  const BetterExact better_;
  std::unique_ptr<std::atomic<float>[]> floors_;
  std::vector<bool> exact_;
};

}  // namespace

SearchCounts search(const IndexView& index, const float* queries, size_t count, size_t k, const SearchOptions& options,
                    float* scores, int64_t* ids) {
  SearchCounts counts;
  if (k == 0) return counts;
  const size_t work = index.rows / kChunkRows + 1;
  for (size_t first = 0; first < count; first += kQueriesAtOnce) {
    const size_t held = std::min(kQueriesAtOnce, count - first);
    Team team(std::clamp(options.threads, size_t{1}, std::max(work, held)), options.interrupted);
    BlockSearch block(index, queries + first * index.dim, held, k, options);
    const SearchCounts more = block.run(team, scores + first * k, ids + first * k);
    counts.nominated += more.nominated;
    counts.rescored += more.rescored;
  }
  return counts;
}

float max_of(const float* values, size_t count) {
  float largest = 0.0f;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, values[i]);
  return largest;
}

}  // namespace jmlr
