#include "parallel.h"

#include <cfenv>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace jmlr {
namespace {

// The bounds assume rounding to nearest and gradual underflow; a library may have set flush-to-zero on this thread.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatingPoint() { std::fesetenv(&saved_); }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace

void Team::run(const std::function<void(size_t)>& body) {
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto guarded = [&](size_t worker) {
    const DefaultFloatingPoint environment;
    try {
      body(worker);
    } catch (...) {
      stop_.store(true, std::memory_order_relaxed);
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads_);
  for (size_t worker = 1; worker < threads_; ++worker) {
    try {
      others.emplace_back(guarded, worker);
    } catch (const std::system_error&) {
      break;  // the machine gives no more threads: those we have claim all the work
    }
  }
  guarded(0);
  for (std::thread& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
}

bool Team::stopping(size_t worker) {
  if (worker == 0 && poll_) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_poll_ > std::chrono::milliseconds(50)) {
      last_poll_ = now;
      if (poll_()) throw Interrupted{};
    }
  }
  return stop_.load(std::memory_order_relaxed);
}

}  // namespace jmlr
