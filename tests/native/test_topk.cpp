// Every instruction set x storage x shape against the contract, written out; for sanitizers and foreign machines.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "checksum.h"
#include "chunk_rows.h"
#include "guess.h"
#include "reference.h"
#include "topk.h"

namespace {

std::atomic<long> allocations_left{-1};  // until one fails; none does while it is negative

}  // namespace

void* operator new(size_t bytes) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes != 0 ? bytes : 1); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

Result found(const char* isa, jmlr::Storage storage, const Matrix& x, const Matrix& q, size_t dim, size_t k,
             size_t threads, jmlr::SearchCounts* counts = nullptr, const jmlr::Selection& selection = {}) {
  const size_t rows = x.size() / dim;
  const size_t count = q.size() / dim;
  std::vector<uint8_t> codes(rows * jmlr::code_stride(storage, dim));
  std::vector<float> scale(rows), residual(rows), norm(rows);
  jmlr::encode_rows(storage, x.data(), rows, dim, codes.data(), scale.data(), residual.data(), norm.data());
  const bool coded = storage != jmlr::Storage::float32;
  jmlr::Copies copies;
  const jmlr::IndexView view{storage,
                             rows,
                             dim,
                             x.data(),
                             coded ? codes.data() : nullptr,
                             storage == jmlr::Storage::int8 ? scale.data() : nullptr,
                             coded ? residual.data() : nullptr,
                             norm.data(),
                             jmlr::max_of(norm.data(), rows),
                             nullptr,
                             &copies};
  Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
  const jmlr::SearchCounts seen =
      jmlr::search(view, q.data(), count, k, {threads, jmlr::select_kernels(isa), {}, selection}, result.scores.data(),
                   result.ids.data());
  if (counts != nullptr) *counts = seen;
  return result;
}

// An index large enough for the first floors to be guessed from a sample. Its best rows lie where the sample finds all
// of them, so that every guess is too high, or at equal distances, where it finds a fair share, and none is.
int wrong_guesses() {
  const size_t rows = 100000, dim = 3, count = 20, k = 100;
  std::mt19937 random(2);
  std::uniform_real_distribution<float> value(0.0f, 1.0f);
  Matrix plain(rows * dim), q(count * dim);
  for (float& v : plain) v = value(random);
  for (float& v : q) v = value(random) + 0.5f;
  int wrong = 0;
  const auto try_all = [&](const auto& place, size_t stride) {  // `stride` 0: with every storage and instruction set
    Matrix x = plain;
    for (size_t i = 0; i < k; ++i) {
      for (size_t d = 0; d < dim; ++d) x[place(i) * dim + d] += 2.0f;
    }
    const Result expected = reference(x, q, dim, k);
    for (const std::string& isa : jmlr::available_isas()) {
      for (const auto storage : {jmlr::Storage::float32, jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
        if (stride != 0 && stride != jmlr::sample_stride(storage)) continue;
        jmlr::SearchCounts counts;
        const Result result = found(isa.c_str(), storage, x, q, dim, k, 2, &counts);
        const size_t repeated = stride != 0 ? count : 0;
        if (result == expected && counts.repeated == repeated) continue;
        ++wrong;
        std::printf("wrong: %s storage %d, best rows at 0, %zu, ...: %zu queries repeated, not %zu\n", isa.c_str(),
                    static_cast<int>(storage), place(1), counts.repeated, repeated);
      }
    }
  };
#ifdef __SANITIZE_THREAD__  // what threads do is the same wherever the best rows lie, and each layout takes half a
                            // minute
  const std::vector<size_t> distances{7};
#else
  const std::vector<size_t> distances{1, 7, 8, 16, 64, 512};
#endif
  for (const size_t distance : distances) {
    try_all([=](size_t i) { return i * distance; }, 0);
  }
  for (const size_t stride : {16, 64}) {  // far enough apart to share no group
    try_all([=](size_t i) { return jmlr::sampled_row(9 * i, stride); }, stride);
  }
  return wrong;
}

// Half of the chunks are scanned, so about 50 of the 100 best rows should have been seen.
int wrong_second_guesses() {
  const auto floor = [](size_t seen, size_t side_by_side) {
    std::vector<jmlr::Candidate> found;
    for (size_t i = 0; i < seen; ++i) {
      const auto middle = static_cast<float>(i);
      const size_t chunk = i / side_by_side * 27 % 64;
      found.emplace_back(middle - 0.5f, middle + 0.5f, static_cast<int64_t>(chunk * jmlr::kChunkRows), false);
    }
    return jmlr::floor_from(found, 100, 64, 128);
  };
  const float strewn = floor(1000, 1);
  int wrong = !(strewn > 1000 - 100 && strewn < 1000 - 60);  // four standard deviations more, and some
  wrong += floor(60, 1) != -jmlr::kInfinity;                  // as many were not let in
  wrong += floor(1000, 20) != -jmlr::kInfinity;               // one chunk or another decides
  if (wrong != 0) std::printf("wrong: a second guess is %g\n", static_cast<double>(strewn));
  return wrong;
}

// Rows that a bitmap for all queries lets in, less those of a bitmap and a list for each; or only those listed.
int wrong_selections() {
  const size_t rows = 13000, dim = 5, count = 70, k = 30, bytes = (rows + 7) / 8;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  Matrix x(rows * dim), q(count * dim);
  for (float& value : x) value = normal(random);
  for (float& value : q) value = normal(random);
  int wrong = 0;
  for (int kind = 0; kind < 8; ++kind) {
    const bool only_listed = kind >= 4;
    std::vector<uint8_t> shared(bytes), by_query(count * bytes);
    std::vector<int64_t> listed, starts{0};
    std::vector<char> allowed(count * rows);
    for (uint8_t& byte : shared) byte = static_cast<uint8_t>(random());
    for (uint8_t& byte : by_query) byte = static_cast<uint8_t>(random() | random());
    for (size_t b = 0; b < count; ++b) {
      for (size_t r = 0; r < rows; ++r) {
        const bool named = random() % 64 < (only_listed ? b : 1);
        if (named) listed.push_back(static_cast<int64_t>(r));
        const bool mapped = (kind % 2 == 0 || (shared[r / 8] >> r % 8 & 1) != 0) &&
                            (kind % 4 < 2 || (by_query[b * bytes + r / 8] >> r % 8 & 1) != 0);
        allowed[b * rows + r] = mapped && named == only_listed;
      }
      starts.push_back(static_cast<int64_t>(listed.size()));
    }
    const jmlr::Selection selection{rows,
                                    kind % 2 != 0 ? shared.data() : nullptr,
                                    kind % 4 >= 2 ? by_query.data() : nullptr,
                                    listed.data(),
                                    starts.data(),
                                    only_listed};
    const Result expected = reference(x, q, dim, k, allowed);
    for (const auto storage : {jmlr::Storage::float32, jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
      if (found("", storage, x, q, dim, k, 2, nullptr, selection) == expected) continue;
      ++wrong;
      std::printf("wrong: storage %d under selection %d\n", static_cast<int>(storage), kind);
    }
  }
  return wrong;
}

// What a thread still reads there is no longer what it was; and time for a thread that wakes late.
[[gnu::noinline]] void overwrite_dead_stack() {
  volatile unsigned char bytes[1 << 15];
  for (volatile unsigned char& byte : bytes) byte = 0xff;
  std::this_thread::sleep_for(std::chrono::microseconds(300));
}

// Memory that runs out anywhere in a search, also where a thread is to be started while others run already: the search
// throws, nothing is left running on its stack, and the next search answers.
int wrong_without_memory() {
  const size_t dim = 8;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Matrix x(1600 * dim), q(4 * dim);  // several chunks of rows, and enough queries to share them
  for (float& value : x) value = normal(random);
  for (float& value : q) value = normal(random);
  const Result expected = reference(x, q, dim, 5);
  int failed = 0;
  int wrong = 0;
  for (size_t threads = 1; threads <= 6; ++threads) {  // from 2 on one more than ever before has to be made
    bool done = false;
    for (long fails_at = 0; !done; ++fails_at) {
      try {
        allocations_left.store(fails_at);
        found("", jmlr::Storage::int8, x, q, dim, 5, threads);
        done = allocations_left.load() >= 0;  // or else it failed in a place that does without
      } catch (const std::bad_alloc&) {
        ++failed;
        overwrite_dead_stack();
      }
      allocations_left.store(-1);
      wrong += !(found("", jmlr::Storage::int8, x, q, dim, 5, std::max(threads - 1, size_t{1})) == expected);
    }
  }
  if (wrong != 0 || failed < 100) std::printf("wrong: %d answers after memory ran out %d times\n", wrong, failed);
  return wrong + (failed < 100);
}

}  // namespace

int main() {
  const size_t shapes[][4] = {{0, 3, 2, 4},      {5, 1, 1, 9},       {1000, 37, 3, 10},
                              {1300, 70, 8, 12}, {1700, 64, 40, 17}, {900, 130, 19, 5}};
  std::mt19937 random(1);
  int cases = 0;
  int wrong = 0;
  for (const auto& [rows, dim, count, k] : shapes) {
    for (const int levels : {2, 1000000}) {  // two levels: nearly all scores tie
      std::uniform_int_distribution<int> level(-levels, levels);
      Matrix x(rows * dim), q(count * dim);
      for (float& value : x) value = static_cast<float>(level(random));
      for (float& value : q) value = static_cast<float>(level(random));
      const Result expected = reference(x, q, dim, k);
      for (const std::string& isa : jmlr::available_isas()) {
        for (const auto storage : {jmlr::Storage::float32, jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
          for (const size_t threads : {1, 2, 7}) {
            ++cases;
            if (found(isa.c_str(), storage, x, q, dim, k, threads) == expected) continue;
            ++wrong;
            std::printf("wrong: %s storage %d [%zu, %zu] B=%zu k=%zu threads=%zu\n", isa.c_str(),
                        static_cast<int>(storage), rows, dim, count, k, threads);
          }
        }
      }
    }
  }
  wrong += wrong_guesses() + wrong_second_guesses();
  wrong += wrong_selections();
  wrong += wrong_without_memory();
  unsigned char bytes[200] = {};
  const uint64_t before = jmlr::checksum(bytes, sizeof bytes);
  for (size_t i = 0; i < sizeof bytes; ++i) {
    bytes[i] ^= 1;
    wrong += jmlr::checksum(bytes, sizeof bytes) == before;
    bytes[i] ^= 1;
  }
  std::printf("%d cases, %d wrong; last of %s\n", cases, wrong, jmlr::available_isas().back().c_str());
  return wrong != 0;
}
