// The machine's ceilings, which no search can pass: read bandwidth and dot-product rates, all threads together.
//
//   bench_ceilings 2        # prints one JSON object: bytes per second, operations per second (2 per multiply-add)
//
// A rate is measured on registers alone (24 sums in flight); null where this machine lacks the instructions.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int kRepeats = 7;
volatile float sink;

// Runs body(thread) on all threads at once and returns the least seconds of several tries.
double seconds(size_t threads, const std::function<void(size_t)>& body) {
  double best = 1e9;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> team;
    for (size_t t = 0; t < threads; ++t) team.emplace_back(body, t);
    for (std::thread& t : team) t.join();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void print(const char* name, double rate, bool last = false) {
  if (rate > 0) {
    std::printf("\"%s\": %.4g%s", name, rate, last ? "}\n" : ", ");
  } else {
    std::printf("\"%s\": null%s", name, last ? "}\n" : ", ");
  }
}

#if defined(__x86_64__)
constexpr size_t kSums = 24;
constexpr size_t kSteps = 2'000'000;

__attribute__((target("avx2"))) void read_all(const char* data, size_t bytes) {
  __m256i sum[8] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    for (size_t v = 0; v < 8; ++v) {
      sum[v] = _mm256_add_epi64(sum[v], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 32 * v)));
    }
  }
  for (size_t v = 1; v < 8; ++v) sum[0] = _mm256_add_epi64(sum[0], sum[v]);
  sink = static_cast<float>(_mm256_extract_epi32(sum[0], 0));
}

__attribute__((target("avx2,fma"))) void fma_avx2(size_t) {
  __m256 sum[12];
  for (auto& s : sum) s = _mm256_set1_ps(sink);
  const __m256 a = _mm256_set1_ps(0.5f + sink);
  for (size_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (size_t v = 0; v < 12; ++v) sum[v] = _mm256_fmadd_ps(a, a, sum[v]);
  }
  for (size_t v = 1; v < 12; ++v) sum[0] = _mm256_add_ps(sum[0], sum[v]);
  sink = 0.0f * _mm256_cvtss_f32(sum[0]);
}

__attribute__((target("avx512f"))) void fma_avx512(size_t) {
  __m512 sum[kSums];
  for (auto& s : sum) s = _mm512_set1_ps(sink);
  const __m512 a = _mm512_set1_ps(0.5f + sink);
  for (size_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (size_t v = 0; v < kSums; ++v) sum[v] = _mm512_fmadd_ps(a, a, sum[v]);
  }
  for (size_t v = 1; v < kSums; ++v) sum[0] = _mm512_add_ps(sum[0], sum[v]);
  sink = 0.0f * _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void dot_bfloat16(size_t) {
  __m512 sum[kSums];
  for (auto& s : sum) s = _mm512_set1_ps(sink);
  const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f003f00));
  for (size_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (size_t v = 0; v < kSums; ++v) sum[v] = _mm512_dpbf16_ps(sum[v], a, a);
  }
  for (size_t v = 1; v < kSums; ++v) sum[0] = _mm512_add_ps(sum[0], sum[v]);
  sink = 0.0f * _mm512_cvtss_f32(sum[0]);
}

// As in kernels/avx512vnni.cpp, and by value, so that the sums stay in registers.
__attribute__((target("avx512f,avx512vnni"), always_inline)) inline __m512i step_int8(__m512i sum, __m512i a) {
  asm("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(a));
  return sum;
}

__attribute__((target("avx512f,avx512vnni"))) void dot_int8(size_t) {
  __m512i sum[kSums];
  for (auto& s : sum) s = _mm512_set1_epi32(static_cast<int>(sink));
  const __m512i a = _mm512_set1_epi32(0x01010101 + static_cast<int>(sink));
  for (size_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (size_t v = 0; v < kSums; ++v) sum[v] = step_int8(sum[v], a);
  }
  for (size_t v = 1; v < kSums; ++v) sum[0] = _mm512_add_epi32(sum[0], sum[v]);
  sink = 0.0f * static_cast<float>(_mm512_reduce_add_epi32(sum[0]));
}

void report(size_t threads) {
  const size_t bytes = size_t{1} << 30;
  std::vector<char> data(bytes, 1);
  const size_t share = bytes / threads;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f");
  const auto rate = [&](bool there, double per_step, const std::function<void(size_t)>& body) {
    return there ? per_step * static_cast<double>(kSteps * threads) / seconds(threads, body) : 0.0;
  };
  const auto read = [&](size_t t) { read_all(data.data() + t * share, share); };
  std::printf("{");
  print("read_bytes_per_s", avx2 ? static_cast<double>(bytes) / seconds(threads, read) : 0.0);
  print("float32_ops_per_s", avx512 ? rate(true, 2.0 * 16 * kSums, fma_avx512) : rate(avx2, 2.0 * 8 * 12, fma_avx2));
  print("bfloat16_ops_per_s", rate(__builtin_cpu_supports("avx512bf16"), 2.0 * 32 * kSums, dot_bfloat16));
  print("int8_ops_per_s", rate(__builtin_cpu_supports("avx512vnni"), 2.0 * 64 * kSums, dot_int8), true);
}
#else
void report(size_t) {
  std::printf("{");
  for (const char* name : {"read_bytes_per_s", "float32_ops_per_s", "bfloat16_ops_per_s"}) print(name, 0.0);
  print("int8_ops_per_s", 0.0, true);
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const long threads = argc == 2 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (threads < 1 || threads > 1024) {
    std::fprintf(stderr, "usage: bench_ceilings THREADS (1 to 1024)\n");
    return 2;
  }
  report(static_cast<size_t>(threads));
  return 0;
}
