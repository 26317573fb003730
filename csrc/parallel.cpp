#include "parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "floating_point.h"

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace jmlr {
namespace {

// A thread that sleeps between jobs. A new thread for every search may begin on the caller's own core and stay there
// for milliseconds, longer than a search takes; one that is woken goes to an idle core.
class Helper {
 public:
  Helper() : thread_([this] { work(); }) {
    handle_ = thread_.native_handle();
    thread_.detach();
  }

  void start(std::function<void()> job) {
    leave_my_core();
    const std::lock_guard<std::mutex> lock(mutex_);
    job_ = std::move(job);
    busy_.store(true, std::memory_order_release);
    changed_.notify_all();
  }
  void wait() { await(false); }

  Helper* next = nullptr;  // of those without a job

 private:
  void work() {
    for (;;) {
      await(true);
      job_();
      job_ = nullptr;
      const std::lock_guard<std::mutex> lock(mutex_);
      busy_.store(false, std::memory_order_release);
      changed_.notify_all();
    }
  }

  // Woken on the core of the caller, a helper stays there for milliseconds, though others are idle: a scheduler thinks
  // in longer times. So it may run on all of the caller's cores but the one that the caller is on.
  void leave_my_core() {
#if defined(__linux__)
    cpu_set_t allowed;
    const int mine = sched_getcpu();
    if (mine < 0 || pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0) return;
    if (CPU_COUNT(&allowed) > 1) CPU_CLR(mine, &allowed);
    pthread_setaffinity_np(handle_, sizeof allowed, &allowed);
#endif
  }

  // The phases of a search follow one another closely, and waking a sleeping core takes long: look for a moment first.
  void await(bool busy) {
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < std::chrono::microseconds(100)) {
      if (busy_.load(std::memory_order_acquire) == busy) return;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return busy_.load(std::memory_order_relaxed) == busy; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> job_;
  std::atomic<bool> busy_{false};
  std::thread::native_handle_type handle_;
  std::thread thread_;  // last: it reads the others
};

// Helpers without a job. Never destroyed: their threads end with the process.
class Pool {
 public:
  static Pool& get() {
    static const bool watched = watch_forks();
    static_cast<void>(watched);
    return *current();
  }
  Helper* take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (idle_ != nullptr) return std::exchange(idle_, idle_->next);
    }
    return new Helper;  // throws std::system_error where the machine gives no more threads
  }
  void give(Helper* helper) {
    const std::lock_guard<std::mutex> lock(mutex_);
    helper->next = std::exchange(idle_, helper);
  }

 private:
  static Pool*& current() {
    static Pool* pool = new Pool;
    return pool;
  }
  // A forked child has the parent's memory, but none of its threads.
  static bool watch_forks() {
#if __has_include(<pthread.h>)
    return pthread_atfork(nullptr, nullptr, [] { current() = new Pool; }) == 0;
#else
    return false;
#endif
  }

  std::mutex mutex_;
  Helper* idle_ = nullptr;  // a list of them
};

// Helpers at work on what their caller's frame holds: it is not left before all have ended, whatever happens.
class Borrowed {
 public:
  explicit Borrowed(size_t most) { helpers_.reserve(most); }
  ~Borrowed() {
    for (Helper* helper : helpers_) {
      helper->wait();
      pool_.give(helper);
    }
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  void start(std::function<void()> job) {
    Helper* helper = pool_.take();
    helper->start(std::move(job));
    helpers_.push_back(helper);  // there is room
  }

 private:
  Pool& pool_ = Pool::get();
  std::vector<Helper*> helpers_;
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
  {
    Borrowed helpers(threads_);
    for (size_t worker = 1; worker < threads_; ++worker) {
      try {
        helpers.start([&guarded, worker] { guarded(worker); });
      } catch (const std::system_error&) {
        break;  // the machine gives no more threads: those we have claim all the work
      }
    }
    guarded(0);
  }
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
