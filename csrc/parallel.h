// Threads of our own. Between searches they sleep, so that nothing spins or fights torch's pool; a forked child gets
// new ones.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <numeric>

namespace jmlr {

struct Interrupted {};  // thrown out of run_team when the caller asked to stop

// Work [0, limit) handed out in chunks to whoever is free, so that a slow core does not hold up the rest.
class WorkQueue {
 public:
  WorkQueue(size_t limit, size_t chunk) : limit_(limit), chunk_(chunk) {}
  bool claim(size_t* begin, size_t* end) {
    const size_t first = next_.fetch_add(chunk_, std::memory_order_relaxed);
    if (first >= limit_) return false;
    *begin = first;
    *end = first + chunk_ < limit_ ? first + chunk_ : limit_;
    return true;
  }

 private:
  std::atomic<size_t> next_{0};
  size_t limit_, chunk_;
};

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

// Calls body(worker) once on each of `threads` threads; worker 0 is the caller. Every thread runs in the default
// floating-point environment. The first exception is rethrown after all have ended. `poll` (may be empty) is called on
// the caller's thread by Team::stopping, a few times a second; if it says true, stopping() says so to all.
class Team {
 public:
  Team(size_t threads, std::function<bool()> poll) : threads_(threads), poll_(std::move(poll)) {}
  size_t threads() const { return threads_; }
  void run(const std::function<void(size_t)>& body);
  bool stopping(size_t worker);

 private:
  size_t threads_;
  std::function<bool()> poll_;
  std::atomic<bool> stop_{false};
  std::chrono::steady_clock::time_point last_poll_ = std::chrono::steady_clock::now();
};

}  // namespace jmlr
