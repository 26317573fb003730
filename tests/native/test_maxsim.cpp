// MaxSim on every instruction set x storage x shape against the contract, written out; for sanitizers and foreign
// machines.
#include <cstdio>

#include "maxsim.h"
#include "maxsim_reference.h"

namespace {

Result found(const char* isa, jmlr::Storage storage, const TokenRows& passages, const TokenRows& queries, size_t dim,
             size_t k, size_t threads) {
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
  Result result{std::vector<float>(queries.groups() * k), std::vector<int64_t>(queries.groups() * k)};
  jmlr::maxsim_search(view, queries.values.data(), queries.offsets.data(), queries.groups(), k,
                      {threads, jmlr::select_kernels(isa), {}}, result.scores.data(), result.ids.data());
  return result;
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
      const TokenRows x = random_rows(random, passages, longest, dim, levels);
      const TokenRows q = random_rows(random, count, most, dim, levels);
      const Result expected = maxsim_reference(x, q, dim, k);
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
