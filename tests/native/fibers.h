// Fibers for cuda_emulation.h: many stacks, one thread, a switch at every barrier. A switch costs a few instructions on
// x86-64; elsewhere `_setjmp` does it. AddressSanitizer is told.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define JMLR_LEAVING(mine, stack, size) __sanitizer_start_switch_fiber(mine, stack, size)
#define JMLR_ARRIVED(mine, stack, size) __sanitizer_finish_switch_fiber(mine, stack, size)
#else
#define JMLR_LEAVING(mine, stack, size) (void)(mine)
#define JMLR_ARRIVED(mine, stack, size) (void)(mine)
#endif

namespace emulation {

constexpr size_t kStack = 128 * 1024;

// Where a stack was left.
struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  jmp_buf registers;
#endif
  void* fake = nullptr;  // the sanitizer's
};

#if defined(__x86_64__)
extern "C" void jmlr_switch_stack(void** from, void* to);
asm(R"(
.text
.type jmlr_switch_stack, @function
jmlr_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size jmlr_switch_stack, .-jmlr_switch_stack
)");
#endif

class Fiber {
 public:
  // The next resume() calls `entry`, which must end in leave().
  void begin(void (*entry)()) {
    if (!stack_) stack_ = std::make_unique_for_overwrite<char[]>(kStack);
    entry_ = entry;
    started_ = false;
    done = false;
  }
  // Runs this fiber until it yields or leaves.
  __attribute__((noinline)) void resume() {
    current_ = this;
    JMLR_LEAVING(&scheduler_.fake, stack_.get(), kStack);
#if defined(__x86_64__)
    if (!started_) {
      started_ = true;
      auto* top = reinterpret_cast<uintptr_t*>((reinterpret_cast<uintptr_t>(stack_.get()) + kStack) & ~uintptr_t{15});
      *--top = 0;  // as if called: 8 past a multiple of 16
      *--top = reinterpret_cast<uintptr_t>(&start);
      for (int i = 0; i < 6; ++i) *--top = 0;
      here_.stack_pointer = top;
    }
    jmlr_switch_stack(&scheduler_.stack_pointer, here_.stack_pointer);
#else
    if (_setjmp(scheduler_.registers) == 0) {
      if (started_) _longjmp(here_.registers, 1);
      started_ = true;
      getcontext(&first_);
      first_.uc_stack = {stack_.get(), 0, kStack};
      first_.uc_link = nullptr;
      makecontext(&first_, start, 0);
      setcontext(&first_);
    }
#endif
    JMLR_ARRIVED(scheduler_.fake, nullptr, nullptr);
  }
  __attribute__((noinline)) static void yield() { back(&current_->here_.fake); }
  static void leave() {
    current_->done = true;
    back(nullptr);
  }
  bool done = false;

 private:
  __attribute__((noinline)) static void back(void** fake) {
    Fiber* me = current_;
    JMLR_LEAVING(fake, scheduler_stack_, scheduler_size_);
#if defined(__x86_64__)
    jmlr_switch_stack(&me->here_.stack_pointer, scheduler_.stack_pointer);
#else
    if (_setjmp(me->here_.registers) == 0) _longjmp(scheduler_.registers, 1);
#endif
    JMLR_ARRIVED(me->here_.fake, &scheduler_stack_, &scheduler_size_);
  }
  static void start() {
    JMLR_ARRIVED(nullptr, &scheduler_stack_, &scheduler_size_);
    current_->entry_();
  }

  std::unique_ptr<char[]> stack_;
  void (*entry_)() = nullptr;
  bool started_ = false;
  Context here_;
#if !defined(__x86_64__)
  ucontext_t first_;
#endif
  inline static Fiber* current_ = nullptr;
  inline static Context scheduler_;
  [[maybe_unused]] inline static const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] inline static size_t scheduler_size_ = 0;
};

}  // namespace emulation
