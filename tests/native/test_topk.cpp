// Every instruction set x storage x shape against the contract, written out; for sanitizers and foreign machines.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "checksum.h"
#include "reference.h"
#include "topk.h"

namespace {

Result found(const char* isa, jmlr::Storage storage, const Matrix& x, const Matrix& q, size_t dim, size_t k,
             size_t threads, jmlr::SearchCounts* counts = nullptr) {
  const size_t rows = x.size() / dim;
  const size_t count = q.size() / dim;
  std::vector<uint8_t> codes(rows * jmlr::code_stride(storage, dim));
  std::vector<float> scale(rows), residual(rows), norm(rows);
  jmlr::encode_rows(storage, x.data(), rows, dim, codes.data(), scale.data(), residual.data(), norm.data());
  const bool coded = storage != jmlr::Storage::float32;
  const jmlr::IndexView view{storage,
                             rows,
                             dim,
                             x.data(),
                             coded ? codes.data() : nullptr,
                             storage == jmlr::Storage::int8 ? scale.data() : nullptr,
                             coded ? residual.data() : nullptr,
                             norm.data(),
                             jmlr::max_of(norm.data(), rows),
                             nullptr};
  Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
  const jmlr::SearchCounts seen = jmlr::search(view, q.data(), count, k, {threads, jmlr::select_kernels(isa), {}},
                                               result.scores.data(), result.ids.data());
  if (counts != nullptr) *counts = seen;
  return result;
}

// An index large enough for the first floors to be guessed from a sample, and its best rows where the sample finds all
// of them (`comb` 512) or a fair share (`comb` 7): the first guess is too high for every query, the second for none.
int wrong_guesses(size_t comb, bool too_high) {
  const size_t rows = 100000, dim = 3, count = 20, k = 100;
  std::mt19937 random(2);
  std::uniform_real_distribution<float> value(0.0f, 1.0f);
  Matrix x(rows * dim), q(count * dim);
  for (float& v : x) v = value(random);
  for (float& v : q) v = value(random) + 0.5f;
  for (size_t r = 0; r < k; ++r) {
    for (size_t d = 0; d < dim; ++d) x[(r + 1) * comb * dim + d] += 2.0f;
  }
  const Result expected = reference(x, q, dim, k);
  int wrong = 0;
  for (const std::string& isa : jmlr::available_isas()) {
    for (const auto storage : {jmlr::Storage::float32, jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
      jmlr::SearchCounts counts;
      const Result result = found(isa.c_str(), storage, x, q, dim, k, 2, &counts);
      const size_t repeated = too_high ? count : 0;
      if (result == expected && counts.repeated == repeated) continue;
      ++wrong;
      std::printf("wrong: %s storage %d, best rows %zu apart: %zu queries repeated, not %zu\n", isa.c_str(),
                  static_cast<int>(storage), comb, counts.repeated, repeated);
    }
  }
  return wrong;
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
  wrong += wrong_guesses(512, true) + wrong_guesses(7, false);
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
