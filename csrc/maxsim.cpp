#include "maxsim.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "candidates.h"
#include "floating_point.h"

namespace jmlr {
namespace {

constexpr size_t kTileRows = 96;           // token rows scored at a time, across the ends of passages
constexpr size_t kChunkRows = 3072;        // token rows claimed at a time, about
constexpr size_t kGroupValues = 1u << 17;  // of the queries scanned together: their panels stay in cache
constexpr size_t kQueriesAtOnce = 256;     // at most: see queries_at_once
constexpr size_t kFew = 16;                // where one passage of so many is allowed, exact scores beat a scan
constexpr size_t kExactTokens = 8;         // a query's tokens are padded to a multiple of this for the exact scores

struct Interval {
  float low, high;  // the contract's score lies in between
};

// Token rows against the tokens of some queries by the scan of one storage: for every passage the sum of the maxima.
class PassageScan {
 public:
  PassageScan(const MaxSimView& index, Storage storage, const Kernels& kernels, const float* tokens,
              const int64_t* starts, size_t count, float max_norm)
      : index_(index),
        storage_(storage),
        kernel_(kernels.scan[static_cast<int>(storage)]),
        raise_(kernels.raise),
        lift_(kernels.lift),
        width_(2 * kernel_.lanes),
        count_(count),
        lifted_(lifts(max_norm)),
        scale_(scales_of(tokens, starts, count, max_norm)),
        block_(storage, kernel_, tokens, scale_.size(), index.dim, false, scale_),
        pieces_(block_.panels().size()),
        bounds_(count) {
    for (size_t q = 0; q < count; ++q) {
      const auto begin = static_cast<size_t>(starts[q] - starts[0]);
      const auto end = static_cast<size_t>(starts[q + 1] - starts[0]);
      sum_scale_.push_back(begin < end ? scale_[begin] * (lifted_ ? static_cast<double>(kLift) : 1.0) : 1.0);
      for (size_t t = begin; t < end; ++t) bounds_[q].add(block_.bound(t), SumBound::slack(end - begin));
      for (size_t t = begin; t < end;) {
        const size_t upto = std::min(end, (t / width_ + 1) * width_);
        pieces_[t / width_].push_back({q, t % width_, t % width_ + upto - t});
        t = upto;
      }
    }
  }

  struct Scratch {
    AlignedBuffer<float> scores;  // [kTileRows, panel width]
    AlignedBuffer<float> lifted;  // [kTileRows, dim], of rows that a scan would take for zero
    AlignedBuffer<float> peaks;   // [panels, panel width]: maxima over the passage that is being read
    std::vector<double> sums;     // [passages that end in the tile, queries]
  };
  Scratch scratch() const {
    return {AlignedBuffer<float>(kTileRows * width_), AlignedBuffer<float>(lifted_ ? kTileRows * index_.dim : 0),
            AlignedBuffer<float>(block_.panels().size() * width_), std::vector<double>(kTileRows * count_)};
  }

  // Calls found(passage, sums [queries]) for passages [first, last), in order.
  template <class Found>
  void run(Scratch& scratch, size_t first, size_t last, const Found& found) const {
    std::fill(scratch.peaks.data(), scratch.peaks.data() + scratch.peaks.size(), kNoFloor);
    const auto end = static_cast<size_t>(index_.offsets[last]);
    for (auto row = static_cast<size_t>(index_.offsets[first]); row < end; row += kTileRows) {
      const size_t count = std::min(kTileRows, end - row);
      const size_t opened = first;
      while (first < last && static_cast<size_t>(index_.offsets[first + 1]) <= row + count) ++first;
      std::fill_n(scratch.sums.data(), (first - opened) * count_, 0.0);
      if (lifted_) lift_(index_.vectors + row * index_.dim, count * index_.dim, scratch.lifted.data());
      for (size_t p = 0; p < block_.panels().size(); ++p) scan_tile(scratch, p, row, count, opened, first);
      for (size_t passage = opened; passage < first; ++passage) {
        found(passage, scratch.sums.data() + (passage - opened) * count_);
      }
    }
  }

  // Rounding to float32 is monotonic, as the contract's is: the interval's ends need no widening for it.
  Interval interval(size_t q, size_t passage, double sum) const {
    const double residual = storage_ == Storage::float32 ? 0.0 : static_cast<double>(index_.residual[passage]);
    const double norm = static_cast<double>(index_.norm[passage]) * (lifted_ ? static_cast<double>(kLift) : 1.0);
    const double error = bounds_[q].error(residual, norm);
    return {static_cast<float>((sum - error) / sum_scale_[q]), static_cast<float>((sum + error) / sum_scale_[q])};
  }

 private:
  struct Piece {  // a query's lanes of a panel
    size_t query, begin, end;
  };

  // All tokens of a query share the scale of the longest.
  std::vector<double> scales_of(const float* tokens, const int64_t* starts, size_t count, float max_norm) const {
    std::vector<double> scales;
    for (size_t q = 0; q < count; ++q) {
      double longest = 0.0;
      for (auto t = static_cast<size_t>(starts[q] - starts[0]); t < static_cast<size_t>(starts[q + 1] - starts[0]);
           ++t) {
        longest = std::max(longest, norm_of(tokens + t * index_.dim, index_.dim));
      }
      scales.resize(static_cast<size_t>(starts[q + 1] - starts[0]), query_scale(longest, max_norm));
    }
    return scales;
  }

  RowBlock rows_at(const Scratch& scratch, size_t first, size_t count) const {
    if (lifted_) return {scratch.lifted.data(), index_.dim * sizeof(float), count, nullptr};
    if (storage_ == Storage::float32) {
      return {index_.vectors + first * index_.dim, index_.dim * sizeof(float), count, nullptr};
    }
    const size_t stride = code_stride(storage_, index_.dim);
    return {index_.codes + first * stride, stride, count, index_.scale != nullptr ? index_.scale + first : nullptr};
  }

  // Panel p against rows [row, row + count), in which passages [opened, closed) end.
  void scan_tile(Scratch& scratch, size_t p, size_t row, size_t count, size_t opened, size_t closed) const {
    const QueryPanel& panel = block_.panels()[p].view;
    float* peaks = scratch.peaks.data() + p * width_;
    {
      const SubnormalsAreZero environment;
      kernel_.scan(panel, rows_at(scratch, row, count), scratch.scores.data());
    }
    size_t done = 0;
    for (size_t passage = opened; passage < closed; ++passage) {
      const size_t upto = static_cast<size_t>(index_.offsets[passage + 1]) - row;
      raise_(scratch.scores.data() + done * panel.width, upto - done, panel.width, peaks);
      double* sums = scratch.sums.data() + (passage - opened) * count_;
      for (const Piece& piece : pieces_[p]) {
        for (size_t j = piece.begin; j < piece.end; ++j) sums[piece.query] += static_cast<double>(peaks[j]);
      }
      std::fill(peaks, peaks + width_, kNoFloor);
      done = upto;
    }
    raise_(scratch.scores.data() + done * panel.width, count - done, panel.width, peaks);
  }

  const MaxSimView& index_;
  const Storage storage_;
  Kernel kernel_;
  RaiseFn raise_;
  LiftFn lift_;
  const size_t width_;  // of a panel at most; only the last may be narrower
  const size_t count_;
  const bool lifted_;
  const std::vector<double> scale_;  // by token
  QueryBlock block_;
  std::vector<double> sum_scale_;           // of the scan's sums, by query
  std::vector<std::vector<Piece>> pieces_;  // by panel
  std::vector<SumBound> bounds_;
};

// A query's tokens in float64, interleaved as the exact kernel reads them.
struct ExactQuery {
  size_t tokens, width;
  AlignedBuffer<double> values;  // [dim, width]

  ExactQuery(const float* rows, size_t count, size_t dim)
      : tokens(count), width((count + kExactTokens - 1) / kExactTokens * kExactTokens), values(dim * width) {
    std::fill(values.data(), values.data() + values.size(), 0.0);
    for (size_t t = 0; t < count; ++t) {
      for (size_t d = 0; d < dim; ++d) values[d * width + t] = static_cast<double>(rows[t * dim + d]);
    }
  }
};

// All that one thread needs for a group of queries.
struct Worker {
  std::vector<CandidateList> lists;  // by query
  PassageScan::Scratch coarse;
  PassageScan::Scratch fine;  // large enough for any query
  std::vector<double> best;   // exact maxima, by token
  SearchCounts counts;
};

// One group of queries against all passages.
class GroupSearch {
 public:
  GroupSearch(const MaxSimView& index, const float* tokens, const int64_t* starts, size_t count, size_t k,
              const SearchOptions& options)
      : index_(index),
        max_dots_(options.kernels.max_dots),
        count_(count),
        k_(k),
        better_(index.ids),
        max_norm_(max_of(index.norm, index.passages)),
        coarse_(index, lifts(max_norm_) ? Storage::float32 : index.storage, options.kernels, tokens, starts, count,
                max_norm_),
        selection_(options.selection),
        copies_(selection_.restricts() ? nullptr : index.copies),  // an original may be left out and its copy not
        floors_(new std::atomic<float>[count]),
        exact_(count, false) {
    std::vector<size_t> allowed(count, index.passages);
    if (selection_.restricts()) allowed = selection_.counts(count);
    fine_.reserve(count);
    queries_.reserve(count);
    for (size_t q = 0; q < count; ++q) {
      const float* first = tokens + static_cast<size_t>(starts[q] - starts[0]) * index.dim;
      const auto held = static_cast<size_t>(starts[q + 1] - starts[q]);
      if (index.storage != Storage::float32 && !lifts(max_norm_)) {
        fine_.emplace_back(index, Storage::float32, options.kernels, first, starts + q, 1, max_norm_);
      }
      queries_.emplace_back(first, held, index.dim);
      floors_[q].store(kNoFloor, std::memory_order_relaxed);
      const bool few = selection_.restricts() && allowed[q] <= index.passages / kFew;
      exact_[q] = k >= allowed[q] || few;  // with all passages wanted there is nothing to rule out
    }
  }

  SearchCounts run(Team& team, float* scores, int64_t* ids) {
    std::vector<Worker> workers(team.threads());
    const auto rows = static_cast<size_t>(index_.offsets[index_.passages]);
    const size_t chunk = std::max(kChunkRows * index_.passages / std::max(rows, size_t{1}), size_t{1});
    const size_t chunks = (index_.passages + chunk - 1) / chunk;
    const Visits visits(chunks);
    WorkQueue work(chunks, 1);
    const bool scanned = std::find(exact_.begin(), exact_.end(), false) != exact_.end();
    team.run([&](size_t me) {
      Worker& worker = workers[me];
      prepare(worker);
      for (size_t unit, next; !team.stopping(me) && work.claim(&unit, &next);) {
        const size_t begin = visits[unit] * chunk;
        const size_t end = std::min(begin + chunk, index_.passages);
        if (scanned && !selection_.bars(begin, end)) {
          coarse_.run(worker.coarse, begin, end, [&](size_t p, const double* sums) { nominate(worker, p, sums); });
        }
        for (size_t q = 0; q < count_; ++q) {
          if (!exact_[q]) continue;
          selection_.each(q, begin, end, [&](size_t p) {
            if (!team.stopping(me)) nominate_exactly(worker, q, p);
          });
        }
      }
    });
    WorkQueue queries(count_, 1);
    team.run([&](size_t me) {
      for (size_t q, end; !team.stopping(me) && queries.claim(&q, &end);) {
        finish(workers, workers[me], q, scores + q * k_, ids + q * k_);
      }
    });
    SearchCounts counts;
    for (const Worker& worker : workers) counts += worker.counts;
    return counts;
  }

 private:
  void prepare(Worker& worker) const {
    worker.lists.resize(count_);
    for (CandidateList& list : worker.lists) list.reset(k_);
    worker.coarse = coarse_.scratch();
    for (const PassageScan& fine : fine_) {
      PassageScan::Scratch scratch = fine.scratch();
      if (scratch.peaks.size() > worker.fine.peaks.size()) worker.fine = std::move(scratch);
    }
    for (const ExactQuery& query : queries_) worker.best.resize(std::max(worker.best.size(), query.width));
  }

  void nominate(Worker& worker, size_t passage, const double* sums) {
    const Copies* const copies = known_copies(copies_);
    if (copies != nullptr && copies->is_copy(passage)) return;
    for (size_t q = 0; q < count_; ++q) {
      if (exact_[q]) continue;
      const float floor = floors_[q].load(std::memory_order_relaxed);
      Interval in = coarse_.interval(q, passage, sums[q]);
      if (in.high < floor || (selection_.restricts() && !selection_.allows(q, passage))) continue;
      ++worker.counts.nominated;
      // A second look at the originals in float32 costs a fraction of exact scores and rules most of the rest out.
      // Before there is a floor nothing can be ruled out.
      if (!fine_.empty() && floor > kNoFloor) {
        fine_[q].run(worker.fine, passage, passage + 1,
                     [&](size_t p, const double* sum) { in = fine_[q].interval(0, p, *sum); });
        if (in.high < floor) continue;
      }
      push(worker, q, {in.low, in.high, static_cast<int64_t>(passage), false});
    }
  }

  void nominate_exactly(Worker& worker, size_t q, size_t passage) {
    const float score = score_exactly(worker, q, passage);
    if (score < floors_[q].load(std::memory_order_relaxed)) return;
    push(worker, q, {score, score, static_cast<int64_t>(passage), true});
  }

  float score_exactly(Worker& worker, size_t q, size_t passage) const {
    const ExactQuery& query = queries_[q];
    const auto first = static_cast<size_t>(index_.offsets[passage]);
    const auto rows = static_cast<size_t>(index_.offsets[passage + 1]) - first;
    std::fill_n(worker.best.data(), query.width, -std::numeric_limits<double>::infinity());
    max_dots_(query.values.data(), query.width, index_.vectors + first * index_.dim, rows, index_.dim,
              worker.best.data());
    double sum = 0.0;
    for (size_t t = 0; t < query.tokens; ++t) sum += worker.best[t];
    ++worker.counts.rescored;
    return static_cast<float>(sum);
  }

  auto scorer(Worker& worker, size_t q) {
    return [this, &worker, q](const int64_t* passages, size_t count, float* out) {
      for (size_t i = 0; i < count; ++i) out[i] = score_exactly(worker, q, static_cast<size_t>(passages[i]));
    };
  }

  auto thinner() const {
    return [this](std::vector<Candidate>& items) {
      if (copies_ == nullptr) return;
      const auto tokens = [this](size_t p) {
        const auto first = static_cast<size_t>(index_.offsets[p]), last = static_cast<size_t>(index_.offsets[p + 1]);
        return std::span(index_.vectors + first * index_.dim, (last - first) * index_.dim);
      };
      copies_->find(tokens, index_.norm, index_.ids, index_.passages);
      drop_copies(items, known_copies(copies_));
    };
  }

  void push(Worker& worker, size_t q, const Candidate& candidate) {
    admit(worker.lists[q], candidate, k_, floors_[q], better_, thinner(), scorer(worker, q));
  }

  void finish(std::vector<Worker>& workers, Worker& mine, size_t q, float* scores, int64_t* ids) {
    const float floor = floors_[q].load(std::memory_order_relaxed);
    std::vector<Candidate> best = best_of(workers, q, k_, floor, better_, thinner(), scorer(mine, q));
    write_out(with_copies(std::move(best), known_copies(copies_), k_, better_), k_, better_, scores, ids);
  }

  const MaxSimView& index_;
  const MaxDotsFn max_dots_;
  const size_t count_, k_;
  const BetterExact better_;
  const float max_norm_;
  const PassageScan coarse_;
  const Selection selection_;
  Copies* const copies_;
  std::vector<PassageScan> fine_;  // by query, over the originals: empty where coarse_ reads them itself
  std::vector<ExactQuery> queries_;
  std::unique_ptr<std::atomic<float>[]> floors_;
  std::vector<bool> exact_;
};

}  // namespace

SearchCounts maxsim_search(const MaxSimView& index, const float* tokens, const int64_t* starts, size_t count, size_t k,
                           const SearchOptions& options, float* scores, int64_t* ids) {
  const DefaultFloatingPoint environment;
  SearchCounts counts;
  if (k == 0) return counts;
  const auto values = [&](size_t first, size_t last) {
    return static_cast<size_t>(starts[last] - starts[first]) * index.dim;
  };
  const size_t threads = std::clamp(options.threads, size_t{1}, std::max(index.passages, kQueriesAtOnce));
  const size_t at_once = queries_at_once(kQueriesAtOnce, k, index.passages, threads);
  for (size_t first = 0, last; first < count; first = last) {
    const size_t most = std::min(count, first + at_once);
    for (last = first + 1; last < most && values(first, last + 1) <= kGroupValues;) ++last;
    Team team(std::clamp(options.threads, size_t{1}, std::max(index.passages, last - first)), options.interrupted);
    SearchOptions here = options;
    here.selection = options.selection.from(first);
    GroupSearch group(index, tokens + values(0, first), starts + first, last - first, k, here);
    counts += group.run(team, scores + first * k, ids + first * k);
  }
  return counts;
}

}  // namespace jmlr
