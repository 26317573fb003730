#include "maxsim.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "candidates.h"
#include "floating_point.h"
#include "passage_scan.h"

namespace jmlr {
namespace {

constexpr size_t kChunkRows = 3072;        // token rows claimed at a time, about
constexpr size_t kGroupValues = 1u << 17;  // of the queries scanned together: their panels stay in cache
constexpr size_t kQueriesAtOnce = 256;     // at most: see queries_at_once
constexpr size_t kFew = 16;                // where one passage of so many is allowed, these are read and no others
constexpr size_t kSlices = 8;              // for each thread, of what queries read by themselves
constexpr size_t kExactTokens = 8;         // a query's tokens are padded to a multiple of this for the exact scores

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
  PassageScan::Scratch fine;   // large enough for any query alone
  std::vector<double> best;    // exact maxima, by token
  std::vector<float> decoded;  // of a passage, where the codes are all there is
  SearchCounts counts;
};

// How a query's passages are looked at: all by the scan of the group, few by the query's own, or each scored exactly.
enum class Way : uint8_t { scan, few, exact };

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
        // With a selection an original may be left out and its copy not; of codes alone none are looked for.
        copies_(selection_.restricts() || index.vectors == nullptr ? nullptr : index.copies),
        floors_(new std::atomic<float>[count]),
        ways_(count, Way::scan) {
    std::vector<size_t> allowed(count, index.passages);
    if (selection_.restricts()) allowed = selection_.counts(count);
    alone_.reserve(count);
    fine_.reserve(count);
    queries_.reserve(count);
    for (size_t q = 0; q < count; ++q) {
      const float* first = tokens + static_cast<size_t>(starts[q] - starts[0]) * index.dim;
      const auto held = static_cast<size_t>(starts[q + 1] - starts[q]);
      const Storage scanned = lifts(max_norm_) ? Storage::float32 : index.storage;
      if (scanned != Storage::float32) {
        fine_.emplace_back(index, Storage::float32, options.kernels, first, starts + q, 1, max_norm_);
      }
      if (selection_.restricts()) {
        alone_.emplace_back(index, scanned, options.kernels, first, starts + q, 1, max_norm_);
      }
      queries_.emplace_back(first, held, index.dim);
      floors_[q].store(kNoFloor, std::memory_order_relaxed);
      if (k >= allowed[q]) {
        ways_[q] = Way::exact;  // with all passages wanted there is nothing to rule out
      } else if (selection_.restricts() && allowed[q] <= index.passages / kFew) {
        ways_[q] = Way::few;
      }
    }
  }

  SearchCounts run(Team& team, float* scores, int64_t* ids) {
    std::vector<Worker> workers(team.threads());
    const auto rows = static_cast<size_t>(index_.offsets[index_.passages]);
    const size_t chunk = std::max(kChunkRows * index_.passages / std::max(rows, size_t{1}), size_t{1});
    const size_t chunks = (index_.passages + chunk - 1) / chunk;
    const Visits visits(chunks);
    const auto wants = [this](Way way) { return std::find(ways_.begin(), ways_.end(), way) != ways_.end(); };
    WorkQueue work(wants(Way::scan) ? chunks : 0, 1);
    const size_t slices =
        std::clamp(kSlices * team.threads() / count_, size_t{1}, std::max(index_.passages, size_t{1}));
    WorkQueue alone(count_ * slices, 1);
    team.run([&](size_t me) {
      Worker& worker = workers[me];
      prepare(worker);
      for (size_t unit, next; !team.stopping(me) && work.claim(&unit, &next);) {
        const size_t begin = visits[unit] * chunk;
        const size_t end = std::min(begin + chunk, index_.passages);
        if (selection_.bars(begin, end)) continue;
        coarse_.run(worker.coarse, begin, end, [&](size_t p, const double* sums) { nominate(worker, p, sums); });
      }
      for (size_t unit, next; !team.stopping(me) && alone.claim(&unit, &next);) {
        const size_t q = unit / slices;
        if (ways_[q] == Way::scan) continue;
        const size_t begin = unit % slices * index_.passages / slices;
        selection_.each(q, begin, (unit % slices + 1) * index_.passages / slices, [&](size_t p) {
          if (team.stopping(me)) return;
          if (ways_[q] == Way::few) {
            nominate_alone(worker, q, p);
          } else {
            nominate_exactly(worker, q, p);
          }
        });
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
    for (const std::vector<PassageScan>* scans : {&alone_, &fine_}) {
      for (const PassageScan& scan : *scans) {
        PassageScan::Scratch scratch = scan.scratch();
        if (scratch.peaks.size() > worker.fine.peaks.size()) worker.fine = std::move(scratch);
      }
    }
    for (const ExactQuery& query : queries_) worker.best.resize(std::max(worker.best.size(), query.width));
  }

  void nominate(Worker& worker, size_t passage, const double* sums) {
    const Copies* const copies = known_copies(copies_);
    if (copies != nullptr && copies->is_copy(passage)) return;
    for (size_t q = 0; q < count_; ++q) {
      if (ways_[q] != Way::scan) continue;
      const Interval in = coarse_.interval(q, passage, sums[q]);
      if (in.high < floors_[q].load(std::memory_order_relaxed)) continue;
      if (selection_.restricts() && !selection_.allows(q, passage)) continue;
      look_closer(worker, q, passage, in);
    }
  }

  // The same of a query that reads its few passages by itself.
  void nominate_alone(Worker& worker, size_t q, size_t passage) {
    const Interval in = look(alone_[q], worker, passage);
    if (in.high >= floors_[q].load(std::memory_order_relaxed)) look_closer(worker, q, passage, in);
  }

  Interval look(const PassageScan& scan, Worker& worker, size_t passage) const {
    Interval in{};
    scan.run(worker.fine, passage, passage + 1, [&](size_t p, const double* sum) { in = scan.interval(0, p, *sum); });
    return in;
  }

  // A second look at the originals in float32 costs a fraction of exact scores and rules most of the rest out.
  // Before there is a floor nothing can be ruled out.
  void look_closer(Worker& worker, size_t q, size_t passage, Interval in) {
    ++worker.counts.nominated;
    const float floor = floors_[q].load(std::memory_order_relaxed);
    if (!fine_.empty() && floor > kNoFloor) {
      in = look(fine_[q], worker, passage);
      if (in.high < floor) return;
    }
    push(worker, q, {in.low, in.high, static_cast<int64_t>(passage), false});
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
    if (index_.vectors == nullptr) worker.decoded.resize(rows * index_.dim);
    std::fill_n(worker.best.data(), query.width, -std::numeric_limits<double>::infinity());
    max_dots_(query.values.data(), query.width, originals(index_, first, rows, worker.decoded.data()), rows, index_.dim,
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
  std::vector<PassageScan> alone_;  // by query, over what is scanned: empty where all passages may be an answer
  std::vector<PassageScan> fine_;   // by query, over the originals: empty where coarse_ reads them itself
  std::vector<ExactQuery> queries_;
  std::unique_ptr<std::atomic<float>[]> floors_;
  std::vector<Way> ways_;
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
