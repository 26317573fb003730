// A block of queries against the whole index: the scan, what it nominates, and what decides. See docs/topk.md.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "answers.h"
#include "candidates.h"
#include "floating_point.h"
#include "guess.h"
#include "panel_bounds.h"
#include "topk.h"

namespace jmlr {

constexpr size_t kStreamingQueries = 2;     // up to here one row at a time beats tiles
constexpr size_t kTileRows = 96;            // rows scored before their scores are filtered: fits L2 beside a panel
constexpr size_t kChunkRows = 768;          // rows claimed at a time
constexpr size_t kPanelBytes = 512u << 10;  // of the panels taken past all rows together: they stay in L2
constexpr size_t kFew = 64;                 // where one row of so many is allowed, exact scores are cheaper than a scan

// All that one thread needs for a block of queries.
struct Worker {
  std::vector<CandidateList> lists;  // by query
  std::vector<Reaching> reaching;    // by query, of a range search
  AlignedBuffer<float> floor;        // by padded query slot: what a row's upper end must reach
  AlignedBuffer<float> scores;       // [kTileRows, panel width]
  AlignedBuffer<float> lifted;       // [kTileRows, dim], of rows that a scan would take for zero
  float residual[kTileRows] = {};    // of a tile's rows, as the filter reads them
  float norm[kTileRows] = {};        // -inf for a row that must not be let in
  std::vector<Hit> hits;
  SearchCounts counts;
};

// One block of queries against the whole index.
class BlockSearch {
 public:
  BlockSearch(const IndexView& index, const float* queries, size_t count, const Wanted& wanted,
              const SearchOptions& options)
      : index_(view_for(index.scanned(), wanted, options.selection)),
        kernel_(options.kernels.scan[static_cast<int>(index_.storage)]),
        filter_(options.kernels.filter),
        rescore_(options.kernels.rescore),
        lift_(options.kernels.lift),
        streaming_(count <= kStreamingQueries),
        lifted_(lifts(index.max_norm)),
        scale_(query_scales(queries, count, index.dim, index.max_norm)),
        block_(index_.storage, kernel_, queries, count, index.dim, streaming_, scale_),
        fine_(index_.storage, kernel_, queries, streaming_ || index_.storage != Storage::int8 ? 0 : count, index.dim,
              true, scale_),
        k_(wanted.k),
        thresholds_(wanted.thresholds),
        negated_(wanted.negated),
        better_(index.ids),
        selection_(options.selection),
        allowed_(selection_.restricts() ? selection_.counts(count) : std::vector<size_t>(count, index.rows)),
        floors_(new std::atomic<float>[count]),
        ways_(count, Way::scan),
        failed_(count, 0) {
    for (size_t q = 0; q < count; ++q) {
      const float floor = thresholds_ != nullptr ? thresholds_[q] : kNoFloor;
      floors_[q].store(floor, std::memory_order_relaxed);
      if (lifted_) scale_[q] *= static_cast<double>(kLift);
      const bool all = thresholds_ != nullptr ? floor == kNoFloor : k_ >= allowed_[q];  // nothing to rule out
      if (all) ways_[q] = Way::exact;
      if (selection_.restricts() && allowed_[q] <= index.rows / kFew) ways_[q] = Way::few;
      if (thresholds_ == nullptr && block_.is_zero(q)) ways_[q] = Way::zero;
    }
    for (const QueryBlock::Panel& panel : block_.panels()) {
      PanelBounds& bounds = bounds_.emplace_back();
      for (size_t j = 0; j < panel.count; ++j) {
        const size_t q = panel.first + j;
        bounds.set(j, block_.bound(q), scale_[q], ways_[q] == Way::zero);
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
      const float found = scores[(q + 1) * k_ - 1];
      floors_[q].store(negated_ ? -found : found, std::memory_order_relaxed);
    }
    note_ways();
    counts += run(team, false, scores, ids);
    return repeated;
  }

  SearchCounts run(Team& team, bool guess, float* scores, int64_t* ids) {
    return run(team, guess, [&](std::vector<Worker>& workers, SearchCounts& counts, size_t q) {
      finish(workers, counts, q, scores + q * k_, ids + q * k_);
    });
  }

  // Of a range search.
  SearchCounts run(Team& team, Matches* found) {
    return run(team, false, [&](std::vector<Worker>& workers, SearchCounts& counts, size_t q) {
      finish(workers, counts, q, found[q]);
    });
  }

 private:
  // Calls finish(workers, counts, q) for every query, once the workers' lists hold all that may be wanted.
  template <class Finish>
  SearchCounts run(Team& team, bool guess, const Finish& finish) {
    std::vector<Worker> workers(team.threads());
    for (Worker& worker : workers) prepare(worker);
    // With many queries every thread takes some panels past all rows: a query then has one list, whose floor rises
    // faster than those of a list per thread. With few, threads share the rows, so that memory is read once: the more
    // bytes a row has, the more queries it takes to pay for reading them again.
    const size_t panels = block_.panels().size();
    const size_t bytes = index_.storage == Storage::float32 ? 4 : index_.storage == Storage::bfloat16 ? 2 : 1;
    const bool by_panel = panels >= bytes * team.threads();
    // A sample reads memory once more, which is what limits the streaming path.
    if (guess && wants(Way::scan) && !streaming_) {
      const std::vector<float> guessed =
          guess_floors(index_, kernel_, lifted_ ? lift_ : nullptr, block_, k_, selection_, team);
      for (size_t q = 0; q < guessed.size(); ++q) {
        if (ways_[q] == Way::scan) raise_floor(floors_[q], unscaled(guessed[q], q));
      }
    }
    const size_t held = kPanelBytes / (2 * kernel_.lanes * 4 * block_.panels()[0].view.unit_count);
    const size_t taken = by_panel ? std::clamp(held, size_t{1}, (panels - 1) / team.threads() + 1) : panels;
    const size_t chunks = wants(Way::scan) || wants(Way::exact) ? (index_.rows + kChunkRows - 1) / kChunkRows : 0;
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
        if (ways_[q] == Way::none) continue;
        if (ways_[q] == Way::few) scan_exactly(workers[me], q, 0, index_.rows);
        finish(workers, workers[me].counts, q);
      }
    });
    SearchCounts counts;
    for (const Worker& worker : workers) counts += worker.counts;
    return counts;
  }

  // From what a scan scores, multiplied by powers of two, to the contract's score. Rounds, as that does, monotonically.
  float unscaled(float score, size_t q) const { return static_cast<float>(static_cast<double>(score) / scale_[q]); }

  auto scorer(SearchCounts& counts, size_t q) {
    return [this, &counts, q](const int64_t* rows, size_t count, float* out) {
      score_exactly(counts, q, rows, count, out);
    };
  }

  // Ties in crowds are copies more often than not. Those go; their originals stand for them until the end.
  auto thinner() const {
    return [this](std::vector<Candidate>& items) {
      if (index_.copies == nullptr) return;
      index_.copies->find([this](size_t row) { return std::span(index_.vectors + row * index_.dim, index_.dim); },
                          index_.norm, index_.ids, index_.rows);
      drop_copies(items, known_copies(index_.copies));
    };
  }

  bool wants(Way way, size_t first, size_t count) const {
    const auto begin = ways_.begin() + static_cast<std::ptrdiff_t>(first);
    return std::count(begin, begin + static_cast<std::ptrdiff_t>(count), way) > 0;
  }
  bool wants(Way way) const { return wants(way, 0, ways_.size()); }

  void note_ways() {
    for (size_t p = 0; p < bounds_.size(); ++p) {
      const QueryBlock::Panel& panel = block_.panels()[p];
      bounds_[p].any_exact = wants(Way::exact, panel.first, panel.count);
      bounds_[p].any_scanned = wants(Way::scan, panel.first, panel.count);
    }
  }

  void prepare(Worker& worker) const {
    worker.lists.resize(block_.count());
    for (CandidateList& list : worker.lists) list.reset(k_);
    if (thresholds_ != nullptr) worker.reaching.resize(block_.count());
    const size_t width = 2 * kernel_.lanes;
    worker.floor = AlignedBuffer<float>(width);
    worker.scores = AlignedBuffer<float>(kTileRows * width);
    worker.hits.resize(kTileRows * width);
    if (lifted_) worker.lifted = AlignedBuffer<float>(kTileRows * index_.dim);
  }

  // Rows [begin, end) against panels [from, to).
  void scan(Worker& worker, size_t begin, size_t end, size_t from, size_t to) {
    const std::vector<QueryBlock::Panel>& panels = block_.panels();
    for (size_t first = begin; first < end; first += kTileRows) {
      const size_t count = std::min(kTileRows, end - first);
      if (selection_.bars(first, first + count)) continue;
      describe(worker, first, count);
      for (size_t p = from; p < to; ++p) {
        if (bounds_[p].any_scanned)
          scan_tile(worker, p, block_ahead(worker, first, count, end, p - from, to - from), first);
        if (!bounds_[p].any_exact) continue;
        for (size_t q = panels[p].first; q < panels[p].first + panels[p].count; ++q) {
          if (ways_[q] == Way::exact) scan_exactly(worker, q, first, first + count);
        }
      }
    }
  }

  // What the scan and the filter are told of rows [first, first + count).
  void describe(Worker& worker, size_t first, size_t count) const {
    if (lifted_) {
      lift_(index_.vectors + first * index_.dim, count * index_.dim, worker.lifted.data());
      lift_(index_.norm + first, count, worker.norm);
    } else {
      std::copy_n(index_.norm + first, count, worker.norm);
    }
    // A larger bound is a bound, and what is as good as nothing would become subnormal in the filter, which is slow.
    const float least = std::min(index_.max_norm * (lifted_ ? kLift : 1.0f), 1.0f) * 0x1p-60f;
    for (size_t row = 0; row < count; ++row) worker.norm[row] = std::max(worker.norm[row], least);
    if (index_.residual != nullptr) {
      for (size_t row = 0; row < count; ++row) worker.residual[row] = std::max(index_.residual[first + row], least);
    }
    for (size_t r = 0; selection_.shared != nullptr && r < count; ++r) {
      if (selection_.bars(first + r, first + r + 1)) worker.norm[r] = kNoFloor;
    }
    const Copies* const copies = known_copies(index_.copies);
    if (copies == nullptr || !copies->any(first, count)) return;
    for (size_t r = 0; r < count; ++r) {
      if (copies->is_copy(first + r)) worker.norm[r] = kNoFloor;
    }
  }

  // Rows [first, first + count), and for panel `part` of `parts` its share of the tile that follows.
  RowBlock block_ahead(const Worker& worker, size_t first, size_t count, size_t end, size_t part, size_t parts) const {
    RowBlock rows = index_.block(first, count);
    const size_t next = std::min(kTileRows, end - first - count) * rows.stride;
    const size_t begin = next * part / parts / 64 * 64;
    rows.ahead = static_cast<const char*>(rows.codes) + count * rows.stride + begin;
    rows.ahead_bytes = next * (part + 1) / parts - begin;
    if (lifted_) rows.codes = worker.lifted.data();
    return rows;
  }

  void scan_tile(Worker& worker, size_t p, const RowBlock& rows, size_t first) {
    const QueryBlock::Panel& panel = block_.panels()[p];
    {
      const SubnormalsAreZero environment;
      kernel_.scan(panel.view, rows, worker.scores.data());
    }
    for (size_t j = 0; j < panel.view.width; ++j) {
      const bool wanted = j < panel.count && ways_[panel.first + j] == Way::scan;
      worker.floor[j] = wanted ? bounds_[p].scan_floor(j, floors_[panel.first + j].load(std::memory_order_relaxed))
                               : std::numeric_limits<float>::infinity();
    }
    nominate(worker, p, first, rows.count);
  }

  void nominate(Worker& worker, size_t p, size_t first, size_t count) {
    const QueryBlock::Panel& panel = block_.panels()[p];
    const float* const residual = worker.residual;
    const float* const norm = worker.norm;
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
      if (selection_.restricts() && !selection_.allows(q, first + row)) continue;  // it must not raise the floor
      const float floor = floors_[q].load(std::memory_order_relaxed);
      const bool refine = fine_.count() != 0 && floor > kNoFloor;  // before there is a floor nothing can be ruled out
      const ErrorBound& bound = refine ? fine_.bound(q) : block_.bound(q);
      const float score = refine ? rescan(q, first + row) : worker.scores[row * width + j];
      const float error = bound.residual_weight * residual[row] + bound.norm_weight * norm[row] + bound.constant;
      const float high = unscaled(score + error, q);
      if (high < floor) continue;
      push(worker, q, {unscaled(score - error, q), high, static_cast<int64_t>(first + row), false});
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

  // Rows [first, last), as far as query q may have them.
  void scan_exactly(Worker& worker, size_t q, size_t first, size_t last) {
    int64_t rows[kTileRows];
    float scores[kTileRows];
    size_t held = 0;
    const auto score = [&] {
      score_exactly(worker.counts, q, rows, held, scores);
      const float floor = floors_[q].load(std::memory_order_relaxed);
      for (size_t i = 0; i < held; ++i) {
        if (!(scores[i] < floor)) push(worker, q, {scores[i], scores[i], rows[i], true});
      }
      held = 0;
    };
    selection_.each(q, first, last, [&](size_t row) {
      rows[held++] = static_cast<int64_t>(row);
      if (held == kTileRows) score();
    });
    score();
  }

  void push(Worker& worker, size_t q, const Candidate& candidate) {
    const auto score = scorer(worker.counts, q);
    if (thresholds_ != nullptr) return worker.reaching[q].add(candidate, thresholds_[q], score);
    admit(worker.lists[q], candidate, k_, floors_[q], better_, thinner(), score);
  }

  void finish(std::vector<Worker>& workers, SearchCounts& counts, size_t q, float* scores, int64_t* ids) {
    const float floor = floors_[q].load(std::memory_order_relaxed);
    const auto each = [&](const auto& found) { selection_.each(q, 0, index_.rows, found); };
    const std::vector<Candidate> best =
        ways_[q] == Way::zero ? first_rows(each, k_, better_)
                              : with_copies(best_of(workers, q, k_, floor, better_, thinner(), scorer(counts, q)),
                                            known_copies(index_.copies), k_, better_);
    // Whatever was left out had an upper end below some floor, so below the last. If that was a guess too high, the row
    // may be one of the k best.
    const size_t wanted = std::min(k_, allowed_[q]);
    failed_[q] = best.size() < wanted || (wanted > 0 && best[wanted - 1].low < floor);
    write_out(best, k_, better_, scores, ids);
    for (size_t i = 0; negated_ && i < k_; ++i) scores[i] = i < best.size() ? score_of(q, best[i]) : -kNoFloor;
  }

  // Of a range search.
  void finish(std::vector<Worker>& workers, SearchCounts& counts, size_t q, Matches& found) {
    for (const Candidate& c : all_reaching(workers, q, thresholds_[q], better_, scorer(counts, q))) {
      found.scores.push_back(score_of(q, c));
      found.ids.push_back(better_.id(c.row()));
    }
  }

  float score_of(size_t q, const Candidate& c) const {
    const float* const row = index_.vectors + static_cast<size_t>(c.row()) * index_.dim;
    return negated_ ? turned(c.low, block_.query(q), row, index_.dim) : c.low;
  }

  void score_exactly(SearchCounts& counts, size_t q, const int64_t* rows, size_t count, float* out) const {
    static_assert(kTileRows >= kSettledAtOnce);
    const float* pointers[kTileRows];
    for (size_t i = 0; i < count; ++i) pointers[i] = index_.vectors + static_cast<size_t>(rows[i]) * index_.dim;
    rescore_(block_.query(q), pointers, count, index_.dim, out);
    counts.rescored += count;
  }

  const IndexView index_;
  const Kernel kernel_;
  const FilterFn filter_;
  const RescoreFn rescore_;
  const LiftFn lift_;
  const bool streaming_;
  const bool lifted_;
  std::vector<double> scale_;  // of the scan's scores, by query
  const QueryBlock block_;
  const QueryBlock fine_;  // for tiles of int8, the same queries with a second digit; else empty
  const size_t k_;
  const float* const thresholds_;  // by query; null unless all rows that reach them are wanted
  const bool negated_;
  const BetterExact better_;
  const Selection selection_;
  const std::vector<size_t> allowed_;  // rows, by query
  std::unique_ptr<std::atomic<float>[]> floors_;
  std::vector<Way> ways_;            // by query
  std::vector<char> failed_;         // its floor was too high; not vector<bool>, for threads write neighbours
  std::vector<PanelBounds> bounds_;  // by panel
};

}  // namespace jmlr
