#include "topk.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "candidates.h"
#include "floating_point.h"
#include "guess.h"

namespace jmlr {
namespace {

constexpr size_t kQueriesAtOnce = 512;      // at most: see queries_at_once
constexpr size_t kStreamingQueries = 2;     // up to here one row at a time beats tiles
constexpr size_t kTileRows = 96;            // rows scored before their scores are filtered: fits L2 beside a panel
constexpr size_t kChunkRows = 768;          // rows claimed at a time
constexpr size_t kPanelBytes = 512u << 10;  // of the panels taken past all rows together: they stay in L2

// The order in which n chunks of rows are visited: in steps of about the golden ratio of all, so that those seen so far
// are a sample of the whole and floors rise early, also where rows are stored in the order of their scores.
class Visits {
 public:
  explicit Visits(size_t n) : n_(std::max(n, size_t{1})), step_(std::max(n * 618 / 1000, size_t{1})) {
    while (std::gcd(n_, step_) != 1) ++step_;
  }
  size_t operator[](size_t i) const { return i * step_ % n_; }

 private:
  size_t n_, step_;
};

// All that one thread needs for a block of queries.
struct Worker {
  std::vector<CandidateList> lists;  // by query
  AlignedBuffer<float> floor;        // by padded query slot: what a row's upper end must reach
  AlignedBuffer<float> scores;       // [kTileRows, panel width]
  std::vector<Hit> hits;
  SearchCounts counts;
};

// How a query is answered.
enum class Way : char {
  scan,
  exact,  // scored against every row
  zero,   // it is zero, and so are all its scores
  none    // it has its answer
};

// The error bounds of a panel's queries, side by side as the filter reads them.
struct PanelBounds {
  float residual_weight[kMaxWidth] = {};
  float norm_weight[kMaxWidth] = {};
  float constant[kMaxWidth] = {};
  bool any_exact = false;    // some is to be scored exactly against every row
  bool any_scanned = false;  // some is to be scanned
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
        fine_(index.storage, kernel_, queries, streaming_ || index.storage != Storage::int8 ? 0 : count, index.dim,
              true),
        k_(k),
        better_(index.ids),
        floors_(new std::atomic<float>[count]),
        ways_(count, Way::scan),
        failed_(count, 0) {
    for (size_t q = 0; q < count; ++q) {
      floors_[q].store(kNoFloor, std::memory_order_relaxed);
      // With k of all rows wanted there is nothing to rule out; with huge norms float32 cannot be trusted to.
      if (k >= index.rows || !block_.scannable(q, index.max_norm)) ways_[q] = Way::exact;
      if (block_.is_zero(q)) ways_[q] = Way::zero;
    }
    for (const QueryBlock::Panel& panel : block_.panels()) {
      PanelBounds& bounds = bounds_.emplace_back();
      for (size_t j = 0; j < panel.count; ++j) {
        const ErrorBound& bound = block_.bound(panel.first + j);
        bounds.residual_weight[j] = bound.residual_weight;
        bounds.norm_weight[j] = bound.norm_weight;
        bounds.constant[j] = bound.constant;
      }
    }
    note_ways();
  }

  // Once more the queries whose guessed floor was too high, from a floor that is proved: the k-th score they have found
  // (-inf where they found fewer than k). Returns how many they are. Needs what `run` wrote.
  size_t repeat(Team& team, SearchCounts& counts, float* scores, int64_t* ids) {
    const auto repeated = static_cast<size_t>(std::count(failed_.begin(), failed_.end(), 1));
    if (repeated == 0) return 0;
    for (size_t q = 0; q < block_.count(); ++q) {
      ways_[q] = failed_[q] != 0 ? Way::scan : Way::none;
      floors_[q].store(scores[(q + 1) * k_ - 1], std::memory_order_relaxed);
    }
    note_ways();
    counts += run(team, false, scores, ids);
    return repeated;
  }

  SearchCounts run(Team& team, bool guess, float* scores, int64_t* ids) {
    std::vector<Worker> workers(team.threads());
    for (Worker& worker : workers) prepare(worker);
    // With many queries every thread takes some panels past all rows: a query then has one list, whose floor rises
    // faster than those of a list per thread. With few, threads share the rows, so that memory is read once: the more
    // bytes a row has, the more queries it takes to pay for reading them again.
    const size_t panels = block_.panels().size();
    const size_t bytes = index_.storage == Storage::float32 ? 4 : index_.storage == Storage::bfloat16 ? 2 : 1;
    const bool by_panel = panels >= bytes * team.threads();
    // A sample reads memory once more, which is what limits the streaming path.
    if (guess && !streaming_) {
      const std::vector<float> guessed = guess_floors(index_, kernel_, block_, k_, team);
      for (size_t q = 0; q < guessed.size(); ++q) {
        if (ways_[q] == Way::scan) raise_floor(floors_[q], guessed[q]);
      }
    }
    const size_t held = kPanelBytes / (2 * kernel_.lanes * 4 * block_.panels()[0].view.unit_count);
    const size_t taken = by_panel ? std::clamp(held, size_t{1}, (panels - 1) / team.threads() + 1) : panels;
    const size_t chunks = (index_.rows + kChunkRows - 1) / kChunkRows;
    const size_t held_chunks = by_panel ? chunks / 4 + 1 : 1;  // quarters: nobody waits long for the last
    const size_t parts = (chunks + held_chunks - 1) / held_chunks;
    const Visits visits(chunks);
    WorkQueue work(parts * ((panels + taken - 1) / taken), 1);
    team.run([&](size_t me) {
      for (size_t unit, end; !team.stopping(me) && work.claim(&unit, &end);) {
        const size_t from = unit / parts * taken;
        const size_t last = std::min((unit % parts + 1) * held_chunks, chunks);
        for (size_t chunk = unit % parts * held_chunks; chunk < last && !team.stopping(me); ++chunk) {
          const size_t row = visits[chunk] * kChunkRows;
          scan(workers[me], row, std::min(row + kChunkRows, index_.rows), from, std::min(from + taken, panels));
        }
      }
    });
    WorkQueue queries(block_.count(), 1);
    team.run([&](size_t me) {
      for (size_t q, end; !team.stopping(me) && queries.claim(&q, &end);) {
        if (ways_[q] != Way::none) finish(workers, workers[me].counts, q, scores + q * k_, ids + q * k_);
      }
    });
    SearchCounts counts;
    for (const Worker& worker : workers) counts += worker.counts;
    return counts;
  }

 private:
  auto scorer(SearchCounts& counts, size_t q) {
    return [this, &counts, q](const int64_t* rows, size_t count, float* out) {
      score_exactly(counts, q, rows, count, out);
    };
  }

  // Ties in crowds are copies more often than not. Those go; their originals stand for them until the end.
  auto thinner() const {
    return [this](std::vector<Candidate>& items) {
      if (index_.copies == nullptr) return;
      index_.copies->find(index_.vectors, index_.norm, index_.ids, index_.rows, index_.dim);
      const Copies* const copies = known_copies();
      if (copies == nullptr) return;
      std::erase_if(items, [&](const Candidate& c) { return copies->is_copy(static_cast<size_t>(c.row())); });
    };
  }

  void note_ways() {
    for (size_t p = 0; p < bounds_.size(); ++p) {
      const QueryBlock::Panel& panel = block_.panels()[p];
      const auto any = [&panel, first = ways_.begin() + static_cast<std::ptrdiff_t>(panel.first)](Way way) {
        return std::count(first, first + static_cast<std::ptrdiff_t>(panel.count), way) > 0;
      };
      bounds_[p].any_exact = any(Way::exact);
      bounds_[p].any_scanned = any(Way::scan);
    }
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
        if (bounds_[p].any_scanned) scan_tile(worker, p, block_ahead(first, count, end, p - from, to - from), first);
        if (!bounds_[p].any_exact) continue;
        for (size_t q = panels[p].first; q < panels[p].first + panels[p].count; ++q) {
          if (ways_[q] == Way::exact) scan_exactly(worker, q, first, count);
        }
      }
    }
  }

  // Rows [first, first + count), and for panel `part` of `parts` its share of the tile that follows.
  RowBlock block_ahead(size_t first, size_t count, size_t end, size_t part, size_t parts) const {
    RowBlock rows = index_.block(first, count);
    const size_t next = std::min(kTileRows, end - first - count) * rows.stride;
    const size_t begin = next * part / parts / 64 * 64;
    rows.ahead = static_cast<const char*>(rows.codes) + count * rows.stride + begin;
    rows.ahead_bytes = next * (part + 1) / parts - begin;
    return rows;
  }

  void scan_tile(Worker& worker, size_t p, const RowBlock& rows, size_t first) {
    const QueryBlock::Panel& panel = block_.panels()[p];
    kernel_.scan(panel.view, rows, worker.scores.data());
    for (size_t j = 0; j < panel.view.width; ++j) {
      const bool wanted = j < panel.count && ways_[panel.first + j] == Way::scan;
      worker.floor[j] =
          wanted ? scan_floor(floors_[panel.first + j].load(std::memory_order_relaxed), bounds_[p].constant[j])
                 : std::numeric_limits<float>::infinity();
    }
    nominate(worker, p, first, rows.count);
  }

  // A row is let in if its upper end reaches the floor; the constant of the bound is moved over to the floor, and what
  // is taken off after that is more than the subtraction may have rounded up.
  static float scan_floor(float floor, float constant) {
    const float lowered = floor - constant;
    return lowered - (std::fabs(lowered) * 0x1p-23f + 0x1p-149f);
  }

  void nominate(Worker& worker, size_t p, size_t first, size_t count) {
    static const float kZeros[kTileRows] = {};
    const QueryBlock::Panel& panel = block_.panels()[p];
    const float* residual = index_.residual != nullptr ? index_.residual + first : kZeros;
    const float* norm = index_.norm + first;
    float barred[kTileRows];
    const Copies* const copies = known_copies();
    if (copies != nullptr && copies->any(first, count)) {  // a norm of -inf keeps a row below any floor
      for (size_t r = 0; r < count; ++r) barred[r] = copies->is_copy(first + r) ? kNoFloor : norm[r];
      norm = barred;
    }
    const float* residual_weight = bounds_[p].residual_weight;
    const float* norm_weight = bounds_[p].norm_weight;
    const size_t width = panel.view.width;
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
      if (worker.floor[j] == std::numeric_limits<float>::infinity()) continue;  // not wanted, but its score was NaN
      if (norm[row] == kNoFloor) continue;                                      // barred, but there is no floor
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
    admit(worker.lists[q], candidate, k_, floors_[q], better_, thinner(), scorer(worker.counts, q));
  }

  const Copies* known_copies() const {
    return index_.copies != nullptr && index_.copies->known() ? index_.copies : nullptr;
  }

  // The k best rows, from the k best of which some stand for their copies too. A copy comes after its original: where
  // it may be among the k best, that one is.
  std::vector<Candidate> with_copies(const std::vector<Candidate>& best) const {
    const Copies* const copies = known_copies();
    if (copies == nullptr) return best;
    std::vector<Candidate> all;
    for (const Candidate& c : best) {
      if (copies->is_copy(static_cast<size_t>(c.row()))) continue;
      if (all.size() >= k_ && c.low < all.back().low) break;
      const std::span<const int64_t> alike = copies->alike(c.row());
      if (alike.empty()) all.push_back(c);
      for (size_t i = 0; i < std::min(alike.size(), k_); ++i) all.emplace_back(c.low, c.low, alike[i], true);
      if (all.size() >= 2 * k_) keep_best(all);
    }
    keep_best(all);
    return all;
  }
  void keep_best(std::vector<Candidate>& items) const {
    std::sort(items.begin(), items.end(), better_);
    if (items.size() > k_) items.erase(items.begin() + static_cast<std::ptrdiff_t>(k_), items.end());
  }

  // The rows with the k lowest ids, whose scores are +0.
  std::vector<Candidate> all_zero() const {
    std::vector<Candidate> best;
    for (size_t row = 0; row < index_.rows && (index_.ids != nullptr || best.size() < k_); ++row) {
      best.emplace_back(0.0f, 0.0f, static_cast<int64_t>(row), true);
      if (best.size() >= 2 * k_ + kChunkRows) keep_best(best);
    }
    keep_best(best);
    return best;
  }

  void finish(std::vector<Worker>& workers, SearchCounts& counts, size_t q, float* scores, int64_t* ids) {
    if (ways_[q] == Way::zero) return write_out(all_zero(), k_, better_, scores, ids);
    const float floor = floors_[q].load(std::memory_order_relaxed);
    const std::vector<Candidate> best =
        with_copies(best_of(workers, q, k_, floor, better_, thinner(), scorer(counts, q)));
    // Whatever was left out had an upper end below some floor, so below the last. If that was a guess too high, the row
    // may be one of the k best.
    const size_t wanted = std::min(k_, index_.rows);
    failed_[q] = best.size() < wanted || (wanted > 0 && best[wanted - 1].low < floor);
    write_out(best, k_, better_, scores, ids);
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
  const QueryBlock fine_;  // for tiles of int8, the same queries with a second digit; else empty
  const size_t k_;
  const BetterExact better_;
  std::unique_ptr<std::atomic<float>[]> floors_;
  std::vector<Way> ways_;            // by query
  std::vector<char> failed_;         // its floor was too high; not vector<bool>, for threads write neighbours
  std::vector<PanelBounds> bounds_;  // by panel
};

}  // namespace

SearchCounts search(const IndexView& index, const float* queries, size_t count, size_t k, const SearchOptions& options,
                    float* scores, int64_t* ids) {
  const DefaultFloatingPoint environment;
  SearchCounts counts;
  if (k == 0) return counts;
  const size_t work = index.rows / kChunkRows + 1;
  const size_t threads = std::clamp(options.threads, size_t{1}, std::max(work, std::min(kQueriesAtOnce, count)));
  const size_t at_once = queries_at_once(kQueriesAtOnce, k, index.rows, threads);
  for (size_t first = 0; first < count; first += at_once) {
    const size_t held = std::min(at_once, count - first);
    Team team(threads, options.interrupted);
    BlockSearch block(index, queries + first * index.dim, held, k, options);
    counts += block.run(team, true, scores + first * k, ids + first * k);
    counts.repeated += block.repeat(team, counts, scores + first * k, ids + first * k);
  }
  return counts;
}

}  // namespace jmlr
