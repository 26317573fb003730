#include "isa.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "aligned.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace jmlr {
namespace {

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
bool has_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

// Tiles are 8 KiB that Linux saves only for processes that ask for them (its Documentation/arch/x86/xstate.rst); asked
// once, the answer holds for all threads and for forked children.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// tile, bfloat16 and int8 (CPUID 7.0, EDX 24, 22, 25), compiled in, on a system that saves tiles and lets us use them.
bool has_amx() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kNeeded = 1u << 22 | 1u << 24 | 1u << 25;
    return avx512amx::int8_kernel().scan != nullptr && has_vnni() && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (d & kNeeded) == kNeeded && may_use_tiles();
  }();
  return has;
}

// The least seconds that a kernel takes for a small tile in cache, for each query.
double seconds_per_query(const Kernel& kernel, Storage storage) {
  constexpr size_t kRows = 96, kUnits = 192;
  const size_t width = 2 * kernel.lanes;
  AlignedBuffer<uint32_t> rows(2 * kRows * kUnits), queries(width * kUnits);  // kernels may fetch rows ahead
  AlignedBuffer<float> scores(width * kRows), scale(kRows + width);
  AlignedBuffer<int32_t> offset(width);
  std::fill(rows.data(), rows.data() + rows.size(), 0x3f803f80u);  // no denormals, as numbers of any storage
  std::fill(queries.data(), queries.data() + queries.size(), 0x3f803f80u);
  std::fill(scale.data(), scale.data() + scale.size(), 1.0f);
  std::fill(offset.data(), offset.data() + width, 0);
  const QueryPanel panel{queries.data(), kUnits, width, scale.data() + kRows, offset.data(), nullptr, nullptr, 0.0f, 0};
  const RowBlock block{rows.data(), 4 * kUnits, kRows, storage == Storage::int8 ? scale.data() : nullptr};
  double least = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 8; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    kernel.scan(panel, block, scores.data());
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least / static_cast<double>(width);
}

const Kernel& fastest(Storage storage, const std::vector<Kernel>& kernels) {
  return *std::min_element(kernels.begin(), kernels.end(), [&](const Kernel& a, const Kernel& b) {
    return seconds_per_query(a, storage) < seconds_per_query(b, storage);
  });
}

// What an instruction set is called says nothing about its speed: vdpbf16ps runs at twice the rate of float32 on Zen 5
// and below it on some Xeons. So the kernels that the machine has are tried, once for a process.
Kernels fastest_kernels() {
  Kernels chosen = avx512::kernels();
  Kernel& bfloat16 = chosen.scan[static_cast<int>(Storage::bfloat16)];
  Kernel& int8 = chosen.scan[static_cast<int>(Storage::int8)];
  std::vector<Kernel> bfloat16s{bfloat16}, int8s{int8};
  if (has_bf16()) bfloat16s.push_back(avx512bf16::bfloat16_kernel());
  if (has_vnni()) int8s.push_back(avx512vnni::int8_kernel());
  if (has_amx()) {
    bfloat16s.push_back(avx512amx::bfloat16_kernel());
    int8s.push_back(avx512amx::int8_kernel());
  }
  bfloat16 = fastest(Storage::bfloat16, bfloat16s);
  int8 = fastest(Storage::int8, int8s);
  return chosen;
}
#endif

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names{"scalar"};
#if defined(__x86_64__)
  if (has_avx2()) names.emplace_back("avx2");
  if (has_avx512()) names.emplace_back("avx512");
  if (has_bf16()) names.emplace_back("avx512bf16");
  if (has_vnni()) names.emplace_back("avx512vnni");
  if (has_amx()) names.emplace_back("avx512amx");
#elif defined(__aarch64__)
  names.emplace_back("neon");
#endif
  return names;
}

Kernels select_kernels(const std::string& name) {
  const std::vector<std::string> names = available_isas();
  const bool best = name.empty() || name == "auto";
  bool known = best;
  std::string allowed = "auto";
  for (const std::string& each : names) {
    known = known || each == name;
    allowed += ", " + each;
  }
  if (!known) throw std::invalid_argument("JMLR_ISA='" + name + "' is not available here; allowed: " + allowed);
#if defined(__x86_64__)
  if (name == "scalar" || (best && !has_avx2())) return scalar::kernels();
  if (name == "avx2" || (best && !has_avx512())) return avx2::kernels();
  if (best) {
    static const Kernels kBest = fastest_kernels();
    return kBest;
  }
  Kernels chosen = avx512::kernels();
  Kernel& bfloat16 = chosen.scan[static_cast<int>(Storage::bfloat16)];
  Kernel& int8 = chosen.scan[static_cast<int>(Storage::int8)];
  if (name == "avx512bf16") bfloat16 = avx512bf16::bfloat16_kernel();
  if (name == "avx512vnni") int8 = avx512vnni::int8_kernel();
  if (name == "avx512amx") {
    bfloat16 = avx512amx::bfloat16_kernel();
    int8 = avx512amx::int8_kernel();
  }
  return chosen;
#elif defined(__aarch64__)
  return name == "scalar" ? scalar::kernels() : neon::kernels();
#else
  return scalar::kernels();
#endif
}

}  // namespace jmlr
