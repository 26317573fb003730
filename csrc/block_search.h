// A block of queries against the whole index: the scan, what it nominates, and what decides. See docs/topk.md.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "answers.h"
#include "candidates.h"
#include "floating_point.h"
#include "guess.h"
#include "panel_bounds.h"
#include "schedule.h"
#include "topk.h"
#include "worker.h"

namespace jmlr {

constexpr size_t kStreamingQueries = 2;  // up to here one row at a time beats tiles
constexpr size_t kTileRows = 96;         // rows scored before their scores are filtered: fits L2 beside a panel
constexpr size_t kFew = 64;              // where one row of so many is allowed, exact scores are cheaper than a scan

// One block of queries against the whole index.
class BlockSearch {
 public:
  BlockSearch(const IndexView& index, const float* queries, size_t count, const Wanted& wanted,
              const SearchOptions& options, Team& team)
      : index_(view_for(index.scanned(), wanted, options.selection)),
        kernel_(options.kernels.scan[static_cast<int>(index_.storage)]),
        filter_(options.kernels.filter),
        rescore_(options.kernels.rescore),
        raise_(options.kernels.raise),
        lift_(options.kernels.lift),
        tile_rows_(kernel_.sieve != nullptr && count > kStreamingQueries ? kSievedRows : kTileRows),
        streaming_(count <= kStreamingQueries),
        lifted_(lifts(index.max_norm)),
        scale_(query_scales(queries, count, index.dim, index.max_norm)),
        block_(index_.storage, kernel_, queries, count, index.dim, streaming_, scale_, &team),
        fine_(index_.storage, kernel_, queries, streaming_ || index_.storage != Storage::int8 ? 0 : count, index.dim,
              true, scale_, &team),
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
    std::vector<Worker> workers;
    for (size_t t = 0; t < team.threads(); ++t) {
      workers.emplace_back(block_, k_, thresholds_ != nullptr, tile_rows_, kernel_.lanes, lifted_ ? index_.dim : 0);
    }
    // A sample reads memory once more, which is what limits the streaming path.
    if (guess && wants(Way::scan) && !streaming_) {
      const std::vector<float> guessed =
          guess_floors(index_, kernel_, raise_, lifted_ ? lift_ : nullptr, block_, k_, selection_, team);
      for (size_t q = 0; q < guessed.size(); ++q) {
        if (ways_[q] == Way::scan) raise_floor(floors_[q], unscaled(guessed[q], q));
      }
    }
    scan(workers, guess && !streaming_, team);
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

  // All rows against all panels. What is found in the first of them tells better floors for the rest than the sample.
  void scan(std::vector<Worker>& workers, bool guess, Team& team) {
    if (!wants(Way::scan) && !wants(Way::exact)) return;
    const Schedule schedule(index_.rows, kernel_, index_.storage, block_, team.threads());
    const auto scan_units = [&](size_t first, size_t last) {
      schedule.run(first, last, team, [&](size_t me, size_t begin, size_t next, size_t from, size_t to) {
        scan(workers[me], begin, std::min(begin + kChunkRows, index_.rows), next, from, to);
      });
    };
    size_t done = 0;
    for (const size_t n : {8, 4, 2}) {
      const size_t upto = schedule.units_of(n);
      if (!guess || upto <= done) continue;
      scan_units(done, upto);
      done = upto;
      guess_again(workers, schedule.chunks_of(n), schedule.chunks(), team);
    }
    scan_units(done, schedule.units());
  }

  // Raises floors by what the workers' lists hold after `done` of all chunks.
  void guess_again(const std::vector<Worker>& workers, size_t done, size_t chunks, Team& team) {
    WorkQueue queries(block_.count(), 1);
    team.run([&](size_t me) {
      for (size_t q, end; !team.stopping(me) && queries.claim(&q, &end);) {
        if (ways_[q] == Way::scan) raise_floor(floors_[q], floor_from(candidates_of(workers, q), k_, done, chunks));
      }
    });
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

  // Rows [begin, end), a chunk at most, against panels [from, to); row `next` is where the scan will go on.
  void scan(Worker& worker, size_t begin, size_t end, size_t next, size_t from, size_t to) {
    worker.rows.describe(index_, selection_, lifted_ ? lift_ : nullptr, begin, end - begin);
    note_floors(worker, from, to);
    for (size_t first = begin; first < end; first += tile_rows_) {
      const size_t count = std::min(tile_rows_, end - first);
      const bool last = first + count == end;
      const size_t after = last ? next : first + count;
      if (!selection_.bars(first, first + count)) scan_rows(worker, first, count, after, from, to);
      if (!last && !streaming_ && !worker.nominees.many()) continue;
      worker.nominees.hand_on([&](size_t q, const Candidate& candidate) { push(worker, q, candidate); });
      note_floors(worker, from, to);
    }
  }

  void scan_rows(Worker& worker, size_t first, size_t count, size_t next, size_t from, size_t to) {
    if (lifted_) lift_(index_.vectors + first * index_.dim, count * index_.dim, worker.lifted.data());
    for (size_t p = from; p < to; ++p) {
      const RowBlock rows = block_ahead(worker, first, count, next, p - from, to - from);
      if (bounds_[p].any_scanned) scan_tile(worker, p, first, rows);
      if (bounds_[p].any_exact) scan_exactly(worker, block_.panels()[p], first, first + count);
    }
  }

  // What the filter is told of panels [from, to).
  void note_floors(Worker& worker, size_t from, size_t to) const {
    for (size_t p = from; p < to; ++p) {
      const QueryBlock::Panel& panel = block_.panels()[p];
      float* const floor = worker.floor.data() + p * 2 * kernel_.lanes;
      for (size_t j = 0; j < panel.view.width; ++j) {
        const bool wanted = j < panel.count && ways_[panel.first + j] == Way::scan;
        floor[j] = wanted ? bounds_[p].scan_floor(j, floors_[panel.first + j].load(std::memory_order_relaxed))
                          : std::numeric_limits<float>::infinity();
      }
    }
  }

  // Rows [first, first + count), and for panel `part` of `parts` its share of the tile that begins with row `next`.
  RowBlock block_ahead(const Worker& worker, size_t first, size_t count, size_t next, size_t part, size_t parts) const {
    RowBlock rows = index_.block(first, count);
    const RowBlock ahead = index_.block(next, std::min(tile_rows_, index_.rows - next));
    const size_t bytes = ahead.count * ahead.stride;
    const size_t begin = bytes * part / parts / 64 * 64;
    rows.ahead = static_cast<const char*>(ahead.codes) + begin;
    rows.ahead_bytes = bytes * (part + 1) / parts - begin;
    if (lifted_) rows.codes = worker.lifted.data();
    return rows;
  }

  void scan_tile(Worker& worker, size_t p, size_t begin, const RowBlock& rows) {
    const QueryBlock::Panel& panel = block_.panels()[p];
    const size_t first = begin - worker.rows.begin;  // of the tile, in the chunk
    const size_t width = panel.view.width;
    const bool sieved = sieves(panel.view);
    const float* const norm = worker.rows.norm + first;
    const float* const floor = worker.floor.data() + p * 2 * kernel_.lanes;
    const size_t found = nominate(worker, p, rows, worker.rows.residual + first, norm, floor);
    worker.counts.nominated += found;
    Pairs pairs;
    for (size_t h = 0; h < found; ++h) {
      const size_t row = width == 1 ? worker.hits[h].j : worker.hits[h].i;
      const size_t j = width == 1 ? 0 : worker.hits[h].j;
      if (floor[j] == std::numeric_limits<float>::infinity()) continue;  // not wanted, but its score was NaN
      if (norm[row] == kNoFloor) continue;                               // barred, but there is no floor
      const size_t q = panel.first + j;
      if (selection_.restricts() && !selection_.allows(q, begin + row)) continue;
      pairs.add(q, first + row, worker.scores[sieved ? h : row * width + j]);
      if (pairs.full()) look_again(worker, pairs);
    }
    look_again(worker, pairs);
  }

  bool sieves(const QueryPanel& panel) const { return kernel_.sieve != nullptr && panel.width >= kernel_.lanes; }

  // Leaves in worker.scores those of all, [rows, width]; a sieve, those of the hits alone.
  size_t nominate(Worker& worker, size_t p, const RowBlock& rows, const float* residual, const float* norm,
                  const float* floor) const {
    const QueryPanel& panel = block_.panels()[p].view;
    const float *const u = bounds_[p].residual_weight, *const v = bounds_[p].norm_weight;
    float* const scores = worker.scores.data();
    const FilterTerms terms{scores, rows.count, panel.width, residual, norm, u, v, nullptr, floor};
    {
      const SubnormalsAreZero environment;
      if (sieves(panel)) {
        return kernel_.sieve(panel, rows, terms, scores, worker.hits.data());
      }
      kernel_.scan(panel, rows, scores);
    }
    if (panel.width > 1) return filter_(terms, worker.hits.data());  // else the streaming path: scores are [1, count]
    return filter_({scores, 1, rows.count, u, v, residual, norm, floor, nullptr}, worker.hits.data());
  }

  // From scores to candidates. The rows' codes are still in cache: the second digit of the queries, where they have
  // one, rules most of the nominees out.
  void look_again(Worker& worker, Pairs& pairs) const {
    const ChunkRows& rows = worker.rows;
    const QueryBlock& last = fine_.count() != 0 ? fine_ : block_;
    if (fine_.count() != 0) pairs.score_again(index_, kernel_, fine_, rows.begin);
    for (size_t i = 0; i < pairs.count; ++i) {
      const size_t q = pairs.query[i], row = pairs.row[i];
      const ErrorBound& bound = last.bound(q);
      const float error =
          bound.residual_weight * rows.residual[row] + bound.norm_weight * rows.norm[row] + bound.constant;
      const float high = unscaled(pairs.score[i] + error, q);
      if (high < floors_[q].load(std::memory_order_relaxed)) continue;
      const auto number = static_cast<int64_t>(rows.begin + row);
      worker.nominees.add(q, {unscaled(pairs.score[i] - error, q), high, number, false});
    }
    pairs.count = 0;
  }

  // Rows [first, last) against the queries of a panel that want it.
  void scan_exactly(Worker& worker, const QueryBlock::Panel& panel, size_t first, size_t last) {
    for (size_t q = panel.first; q < panel.first + panel.count; ++q) {
      if (ways_[q] == Way::exact) scan_exactly(worker, q, first, last);
    }
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
    static_assert(kSettledAtOnce >= kTileRows);
    const float* pointers[kSettledAtOnce];
    for (size_t i = 0; i < count; ++i) pointers[i] = index_.vectors + static_cast<size_t>(rows[i]) * index_.dim;
    rescore_(block_.query(q), pointers, count, index_.dim, out);
    counts.rescored += count;
  }

  const IndexView index_;
  const Kernel kernel_;
  const FilterFn filter_;
  const RescoreFn rescore_;
  const RaiseFn raise_;
  const LiftFn lift_;
  const size_t tile_rows_;
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
