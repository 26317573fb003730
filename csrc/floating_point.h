// The floating-point environment that all bounds assume.
#pragma once

#include <cfenv>

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

}  // namespace jmlr
