// The floating-point environment that all bounds assume.
#pragma once

#include <cfenv>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace jmlr {

// While it lives its thread rounds to nearest and underflows gradually, whatever another library has set; then the
// thread has its own environment again. Everything that computes enters one: what is left of a subnormal number that is
// flushed to zero is no bound.
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

// While it lives its thread takes subnormal float32 for zero, as far as the processor can: around scans, whose bounds
// pay for it, because many processors take a hundred cycles or more for each of them.
class SubnormalsAreZero {
#if defined(__SSE2__)
 public:
  SubnormalsAreZero() : saved_(_mm_getcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero);
  }
  ~SubnormalsAreZero() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
 public:
  SubnormalsAreZero() {}
  ~SubnormalsAreZero() {}
#endif
};

}  // namespace jmlr
