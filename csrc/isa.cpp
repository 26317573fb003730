#include "isa.h"

#include <stdexcept>

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
#endif

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names{"scalar"};
#if defined(__x86_64__)
  if (has_avx2()) names.emplace_back("avx2");
  if (has_avx512()) names.emplace_back("avx512");
  if (has_bf16()) names.emplace_back("avx512bf16");
  if (has_vnni()) names.emplace_back("avx512vnni");
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
  Kernels chosen = avx512::kernels();
  if (name == "avx512bf16" || (best && has_bf16())) {
    chosen.scan[static_cast<int>(Storage::bfloat16)] = avx512bf16::bfloat16_kernel();
  }
  if (name == "avx512vnni" || (best && has_vnni())) {
    chosen.scan[static_cast<int>(Storage::int8)] = avx512vnni::int8_kernel();
  }
  return chosen;
#elif defined(__aarch64__)
  return name == "scalar" ? scalar::kernels() : neon::kernels();
#else
  return scalar::kernels();
#endif
}

}  // namespace jmlr
