// Runs the kernels of csrc/cuda on the host, unchanged: every thread of a block is a fiber, and what device.cuh,
// ptx.cuh and hopper.cuh offer is done in software. It is hostile on purpose: copies land as late as they may, products
// are formed only when they are waited for, float32 sums of tensor cores are truncated, fibers run in either order, and
// a barrier that not all reach is reported. What it cannot show is speed, and what the hardware does that we did not
// know.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <type_traits>
#include <vector>

#include "cuda/types.h"
#include "fibers.h"

#define JMLR_DEVICE inline
#define JMLR_KERNEL(threads, blocks) inline void
#define __shared__ static
#define __grid_constant__
#define JMLR_WITH_HOPPER 1

using cudaStream_t = struct CUstream_st*;
struct uint4 {
  uint32_t x, y, z, w;
};
struct float4 {
  float x, y, z, w;
};
struct Index3 {
  uint32_t x, y;
};

namespace emulation {

using Action = std::function<void()>;

struct Rendezvous {
  uint32_t arrived = 0;
  uint64_t generation = 0;
};

// A barrier in shared memory.
struct MBarrier {
  uint32_t expected = 0, pending = 0, parity = 0;
  int64_t bytes = 0;
};

// One thread of a block.
struct Thread {
  Fiber fiber;
  Index3 index{};
  std::deque<std::vector<Action>> copies, products;  // by committed group; the last is open
};

constexpr size_t kShared = 256 * 1024;

struct Machine {
  std::vector<Thread> threads;
  size_t current = 0;
  Index3 block{}, grid{}, block_size{};
  std::function<void()> body;
  Rendezvous whole;
  std::map<uint32_t, Rendezvous> named;
  std::vector<Rendezvous> warps;
  std::vector<std::array<uint8_t, 32>> slots;
  std::map<uint32_t, MBarrier> barriers;
  std::deque<Action> engine;  // what the copy engine was asked for
  uint64_t progress = 0;
  uint8_t* shared = static_cast<uint8_t*>(std::aligned_alloc(1024, kShared));
  bool backwards = false;
};
inline Machine machine;
inline Thread& self() { return machine.threads[machine.current]; }

[[noreturn]] inline void fail(const char* what) {
  std::printf("emulation: %s (block %u, thread %u)\n", what, machine.block.x, self().index.x);
  std::fflush(stdout);
  std::abort();
}

inline void meet(Rendezvous& r, uint32_t count) {
  const uint64_t generation = r.generation;
  if (++r.arrived == count) {
    r.arrived = 0;
    ++r.generation;
    ++machine.progress;
    return;
  }
  while (r.generation == generation) Fiber::yield();
}

inline void run_thread() {
  machine.body();
  ++machine.progress;
  Fiber::leave();
}

inline void run_block(uint32_t count, size_t shared) {
  Machine& m = machine;
  if (m.threads.size() < count) m.threads = std::vector<Thread>(count);
  for (uint32_t t = 0; t < count; ++t) {
    Thread& thread = m.threads[t];
    thread.fiber.begin(run_thread);
    thread.index = {t, 0};
    if (thread.copies.size() != 1 || !thread.copies.back().empty()) thread.copies.assign(1, {});
    if (thread.products.size() != 1 || !thread.products.back().empty()) thread.products.assign(1, {});
  }
  m.whole = {};
  m.named.clear();
  m.barriers.clear();
  m.warps.assign(count / 32, {});
  m.slots.assign(count, {});
  m.block_size = {count, 1};
  std::memset(m.shared, 0xff, shared);  // NaN: whoever reads before writing will show
  for (size_t live = count, idle = 0; live != 0;) {
    const uint64_t before = m.progress;
    live = 0;
    for (uint32_t t = 0; t < count; ++t) {
      m.current = m.backwards ? count - 1 - t : t;
      if (self().fiber.done) continue;
      self().fiber.resume();
      live += static_cast<size_t>(!self().fiber.done);
    }
    if (!m.engine.empty()) {  // one late copy at a time
      m.engine.front()();
      m.engine.pop_front();
      ++m.progress;
    }
    idle = m.progress == before ? idle + 1 : 0;
    if (idle > 3) fail("threads wait for what does not come");
  }
}

// Every lane of a warp gives a value of up to 32 bytes; `take(of)` then reads those of all, of(lane).
template <typename T, typename Take>
auto trade(T value, const Take& take) {
  static_assert(sizeof(T) <= 32);
  const uint32_t first = self().index.x / 32 * 32;
  std::memcpy(machine.slots[self().index.x].data(), &value, sizeof value);
  meet(machine.warps[first / 32], 32);
  const auto taken = take([&](uint32_t lane) {
    T other;
    std::memcpy(&other, machine.slots[first + lane].data(), sizeof other);
    return other;
  });
  meet(machine.warps[first / 32], 32);
  return taken;
}

inline void run_until(std::deque<std::vector<Action>>& groups, size_t pending) {
  while (groups.size() > pending + 1) {
    for (const Action& action : groups.front()) action();
    groups.pop_front();
  }
}

}  // namespace emulation

#define threadIdx (emulation::self().index)
#define blockIdx (emulation::machine.block)
#define gridDim (emulation::machine.grid)
#define blockDim (emulation::machine.block_size)
inline void __syncthreads() { emulation::meet(emulation::machine.whole, blockDim.x); }
template <typename T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = old + value;
  return old;
}
template <typename T>
void atomicMin(T* at, T value) {
  *at = std::min(*at, value);
}
template <typename T>
void atomicMax(T* at, T value) {
  *at = std::max(*at, value);
}

namespace jmlr::cuda {

inline uint8_t* shared_memory() { return emulation::machine.shared; }
template <typename T>
T lane_xor(T value, uint32_t mask) {
  return emulation::trade(value, [&](const auto& of) { return of(threadIdx.x % 32 ^ mask); });
}
template <typename T>
T lane_get(T value, uint32_t lane) {
  return emulation::trade(value, [&](const auto& of) { return of(lane); });
}
inline void warp_barrier() { emulation::meet(emulation::machine.warps[threadIdx.x / 32], 32); }
inline uint32_t lanes_where(bool condition) {
  return emulation::trade(condition, [](const auto& of) {
    uint32_t mask = 0;
    for (uint32_t lane = 0; lane < 32; ++lane) mask |= static_cast<uint32_t>(of(lane)) << lane;
    return mask;
  });
}
inline uint32_t bits_set(uint32_t mask) { return static_cast<uint32_t>(std::popcount(mask)); }
inline int32_t dot4(uint32_t x, uint32_t y, int32_t sum) {
  for (uint32_t shift = 0; shift < 32; shift += 8) {
    sum += static_cast<int8_t>(x >> shift) * static_cast<int8_t>(y >> shift);
  }
  return sum;
}
inline uint4 load(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) emulation::fail("a load of 16 bytes is not aligned");
  uint4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint4 load_once(const void* p) { return load(p); }
inline void fill_bytes(void* at, int value, size_t bytes, cudaStream_t) {
  if (bytes != 0) std::memset(at, value, bytes);
}

template <typename Args>
void launch(void (*kernel)(Args), uint32_t grid_x, uint32_t grid_y, uint32_t threads, size_t shared, cudaStream_t,
            const Args& args) {
  if (shared > 227 * 1024 || grid_y > 65535 || threads % 32 != 0 || threads > 1024) {
    emulation::fail("no device would launch this");
  }
  emulation::Machine& m = emulation::machine;
  m.body = [&] { kernel(args); };
  m.grid = {grid_x, grid_y};
  m.backwards = !m.backwards;
  for (uint32_t y = 0; y < grid_y; ++y) {
    for (uint32_t x = 0; x < grid_x; ++x) {
      m.block = {x, y};
      emulation::run_block(threads, shared);
    }
  }
}

// --- ptx.cuh ---
constexpr uint32_t kSharedBase = 1024;  // addresses in shared memory need not start at 0
inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(static_cast<const uint8_t*>(p) - emulation::machine.shared) + kSharedBase;
}
inline uint8_t* shared_at(uint32_t address, uint32_t bytes) {
  if (address < kSharedBase || address + bytes > kSharedBase + emulation::kShared) {
    emulation::fail("an address outside shared memory");
  }
  return emulation::machine.shared + (address - kSharedBase);
}
inline void copy_async(uint32_t to, const void* from) {
  emulation::self().copies.back().push_back([=] {
    const uint4 v = load(from);
    std::memcpy(shared_at(to, 16), &v, sizeof v);
  });
}
inline void commit_copies() { emulation::self().copies.emplace_back(); }
template <int kPending>
void wait_for_copies() {
  emulation::run_until(emulation::self().copies, kPending);
}
inline void load_matrices(uint32_t (&out)[4], uint32_t address) {
  const uint32_t lane = threadIdx.x % 32;
  emulation::trade(address, [&](const auto& of) {
    for (uint32_t m = 0; m < 4; ++m) std::memcpy(&out[m], shared_at(of(8 * m + lane / 4) + lane % 4 * 4, 4), 4);
    return 0;
  });
}
inline float truncated(double value) {
  auto nearest = static_cast<float>(value);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) nearest = float_of(bits_of(nearest) - 1);
  return std::fabs(nearest) < 0x1p-126f ? 0.0f : nearest;
}
inline void add_products(float& sum, uint32_t x, uint32_t y) {
  for (uint32_t shift = 0; shift < 32; shift += 16) {
    const float a = from_bfloat16(static_cast<uint16_t>(x >> shift));
    const float b = from_bfloat16(static_cast<uint16_t>(y >> shift));
    sum = truncated(static_cast<double>(sum) + static_cast<double>(a) * static_cast<double>(b));
  }
}
inline void add_products(int32_t& sum, uint32_t x, uint32_t y) { sum = dot4(x, y, sum); }
template <typename Sum>
void mma(Sum (&d)[4], const uint32_t (&x)[4], uint32_t y0, uint32_t y1) {
  const uint32_t lane = threadIdx.x % 32;
  struct Operands {
    uint32_t x[4], y[2];
  };
  emulation::trade(Operands{{x[0], x[1], x[2], x[3]}, {y0, y1}}, [&](const auto& of) {
    for (uint32_t k = 0; k < 8; ++k) {  // 32-bit words along D: four lanes hold four each of the low half and the high
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = of(lane / 4 * 4 + k % 4).x[k / 4 * 2 + i / 2];
        const uint32_t column = of((lane % 4 * 2 + i % 2) * 4 + k % 4).y[k / 4];
        add_products(d[i], row, column);
      }
    }
    return 0;
  });
}

// --- hopper.cuh ---
inline emulation::MBarrier& barrier_at(uint32_t address) {
  shared_at(address, 8);
  if (address % 8 != 0) emulation::fail("a barrier is not aligned");
  return emulation::machine.barriers[address];
}
inline void settle(emulation::MBarrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  b.pending = b.expected;
  b.parity ^= 1;
  ++emulation::machine.progress;
}
inline void barrier_init(uint32_t barrier, uint32_t arrivals) { barrier_at(barrier) = {arrivals, arrivals, 0, 0}; }
inline void barrier_init_done() {}
inline void barrier_arrive(uint32_t barrier) {
  emulation::MBarrier& b = barrier_at(barrier);
  if (b.pending-- == 0) emulation::fail("one arrival too many");
  settle(b);
}
inline void barrier_arrive_expecting(uint32_t barrier, uint32_t bytes) {
  barrier_at(barrier).bytes += bytes;
  barrier_arrive(barrier);
}
inline void barrier_wait(uint32_t barrier, uint32_t parity) {
  if (barrier_at(barrier).expected == 0) emulation::fail("a barrier that nobody made");
  while (barrier_at(barrier).parity == parity) emulation::Fiber::yield();
}
inline void copy_bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  if (to % 16 != 0 || bytes % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    emulation::fail("a bulk copy is not aligned");
  }
  std::memset(shared_at(to, bytes), 0xff, bytes);  // what was there is gone from now on
  emulation::machine.engine.push_back([=] {
    std::memcpy(shared_at(to, bytes), from, bytes);
    barrier_at(barrier).bytes -= bytes;
    settle(barrier_at(barrier));
  });
}
inline void barrier_of(uint32_t name, uint32_t threads) { emulation::meet(emulation::machine.named[name], threads); }
template <int kRegisters>
void give_registers() {}
template <int kRegisters>
void take_registers() {}
template <typename Sum, size_t kCount>
void hold(Sum (&)[kCount]) {}
inline void wgmma_begin() {}
inline void wgmma_commit() { emulation::self().products.emplace_back(); }
template <int kPending>
void wgmma_wait() {
  emulation::run_until(emulation::self().products, kPending);
}
// 32-bit word `word` of row r of what a descriptor points at: the hardware's reading of a K-major operand with the
// 128-byte swizzle: rows 128 bytes apart, groups of 8 rows by the stride, bits 4-6 of the address XORed with 7-9.
inline uint32_t described(uint64_t descriptor, uint32_t r, uint32_t word) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) emulation::fail("not a 128-byte swizzle");
  const auto start = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
  const auto stride = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  const uint32_t plain = start + r / 8 * stride + r % 8 * 128 + word * 4;
  uint32_t value;
  std::memcpy(&value, shared_at(plain ^ ((plain >> 7 & 7) << 4), 4), 4);
  return value;
}
template <typename Sum, size_t kCount>
void wgmma(Sum (&d)[kCount], uint64_t x, uint64_t y, int add) {
  const uint32_t thread = threadIdx.x % 128;
  emulation::self().products.back().push_back([&d, x, y, add, thread] {
    for (uint32_t i = 0; i < kCount; ++i) {
      if (add == 0) d[i] = 0;
      const uint32_t row = thread / 32 * 16 + thread % 32 / 4 + (i / 2 % 2) * 8;
      const uint32_t column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      for (uint32_t word = 0; word < 8; ++word) add_products(d[i], described(x, row, word), described(y, column, word));
    }
  });
}

}  // namespace jmlr::cuda
