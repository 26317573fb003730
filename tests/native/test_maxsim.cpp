// MaxSim on every instruction set x storage x shape against the contract, written out; for sanitizers and foreign
// machines.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "maxsim.h"

namespace {

struct Result {
  std::vector<float> scores;
  std::vector<int64_t> ids;
  Result(size_t count, size_t k) : scores(count * k, -std::numeric_limits<float>::infinity()), ids(count * k, -1) {}
  bool operator==(const Result& other) const {
    return ids == other.ids && std::memcmp(scores.data(), other.scores.data(), scores.size() * sizeof(float)) == 0;
  }
};

struct Rows {  // groups of rows, one group after another: passages or queries
  std::vector<float> values;
  std::vector<int64_t> offsets;
  size_t groups() const { return offsets.size() - 1; }
};

double dot(const float* q, const float* x, size_t dim) {
  double sum = 0.0;
  for (size_t d = 0; d < dim; ++d) sum += static_cast<double>(q[d]) * static_cast<double>(x[d]);
  return sum;
}

Result reference(const Rows& passages, const Rows& queries, size_t dim, size_t k) {
  Result result(queries.groups(), k);
  for (size_t b = 0; b < queries.groups(); ++b) {
    std::vector<float> scores(passages.groups());
    for (size_t p = 0; p < passages.groups(); ++p) {
      double sum = 0.0;
      for (auto t = static_cast<size_t>(queries.offsets[b]); t < static_cast<size_t>(queries.offsets[b + 1]); ++t) {
        double best = -std::numeric_limits<double>::infinity();
        for (auto r = static_cast<size_t>(passages.offsets[p]); r < static_cast<size_t>(passages.offsets[p + 1]); ++r) {
          best = std::max(best, dot(queries.values.data() + t * dim, passages.values.data() + r * dim, dim));
        }
        sum += best;
      }
      scores[p] = static_cast<float>(sum);
    }
    std::vector<size_t> order(passages.groups());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t c) { return scores[a] > scores[c]; });
    for (size_t i = 0; i < std::min(k, order.size()); ++i) {
      result.ids[b * k + i] = static_cast<int64_t>(order[i]);
      result.scores[b * k + i] = scores[order[i]];
    }
  }
  return result;
}

Result found(const char* isa, jmlr::Storage storage, const Rows& passages, const Rows& queries, size_t dim, size_t k,
             size_t threads) {
  const auto rows = static_cast<size_t>(passages.offsets.back());
  std::vector<uint8_t> codes(rows * jmlr::code_stride(storage, dim));
  std::vector<float> scale(rows), residual(rows), norm(rows);
  jmlr::encode_rows(storage, passages.values.data(), rows, dim, codes.data(), scale.data(), residual.data(),
                    norm.data());
  std::vector<float> largest_residual, largest_norm;
  for (size_t p = 0; p < passages.groups(); ++p) {
    const auto first = static_cast<size_t>(passages.offsets[p]);
    const auto held = static_cast<size_t>(passages.offsets[p + 1]) - first;
    largest_residual.push_back(jmlr::max_of(residual.data() + first, held));
    largest_norm.push_back(jmlr::max_of(norm.data() + first, held));
  }
  const bool coded = storage != jmlr::Storage::float32;
  const jmlr::MaxSimView view{storage,
                              passages.groups(),
                              dim,
                              passages.offsets.data(),
                              passages.values.data(),
                              coded ? codes.data() : nullptr,
                              storage == jmlr::Storage::int8 ? scale.data() : nullptr,
                              coded ? largest_residual.data() : nullptr,
                              largest_norm.data(),
                              nullptr};
  Result result(queries.groups(), k);
  jmlr::maxsim_search(view, queries.values.data(), queries.offsets.data(), queries.groups(), k,
                      {threads, jmlr::select_kernels(isa), {}}, result.scores.data(), result.ids.data());
  return result;
}

// Groups of 1 to `longest` rows of whole numbers from -levels to levels.
Rows random_rows(std::mt19937& random, size_t groups, size_t longest, size_t dim, int levels) {
  std::uniform_int_distribution<int> level(-levels, levels);
  std::uniform_int_distribution<int64_t> length(1, static_cast<int64_t>(longest));
  Rows rows{{}, {0}};
  for (size_t g = 0; g < groups; ++g) rows.offsets.push_back(rows.offsets.back() + length(random));
  rows.values.resize(static_cast<size_t>(rows.offsets.back()) * dim);
  for (float& value : rows.values) value = static_cast<float>(level(random));
  return rows;
}

}  // namespace

int main() {
  // passages, tokens of the longest, queries, tokens of the longest, D, k
  const size_t shapes[][6] = {{0, 1, 2, 3, 3, 4},
                              {5, 3, 1, 1, 1, 9},
                              {700, 5, 3, 9, 37, 10},
                              {60, 250, 2, 40, 16, 17},
                              {90, 30, 9, 33, 130, 5}};
  std::mt19937 random(1);
  int cases = 0;
  int wrong = 0;
  for (const auto& [passages, longest, count, most, dim, k] : shapes) {
    for (const int levels : {1, 1000000}) {  // one level: nearly all scores tie
      const Rows x = random_rows(random, passages, longest, dim, levels);
      const Rows q = random_rows(random, count, most, dim, levels);
      const Result expected = reference(x, q, dim, k);
      for (const std::string& isa : jmlr::available_isas()) {
        for (const auto storage : {jmlr::Storage::float32, jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
          for (const size_t threads : {1, 2, 7}) {
            ++cases;
            if (found(isa.c_str(), storage, x, q, dim, k, threads) == expected) continue;
            ++wrong;
            std::printf("wrong: %s storage %d N=%zu B=%zu T<=%zu D=%zu k=%zu threads=%zu\n", isa.c_str(),
                        static_cast<int>(storage), passages, count, most, dim, k, threads);
          }
        }
      }
    }
  }
  std::printf("%d cases, %d wrong; last of %s\n", cases, wrong, jmlr::available_isas().back().c_str());
  return wrong != 0;
}
