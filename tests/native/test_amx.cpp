// The tile kernels: run by the emulation against the contract on any machine, and against the processor where it has
// AMX. What they read is bounded by sanitizers, which do not see into the processor's own tile loads.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "kernels/amx.h"
#include "reference.h"
#include "tile_emulation.h"
#include "topk.h"

namespace {

void scan_bfloat16(const jmlr::QueryPanel& panel, const jmlr::RowBlock& rows, float* scores) {
  if (panel.width < jmlr::kTileQueries) return jmlr::scalar::kernels().scan[1].scan(panel, rows, scores);
  jmlr::scan_tiles<EmulatedTiles, jmlr::TileBfloat16>(panel, rows, scores);
}

void scan_int8(const jmlr::QueryPanel& panel, const jmlr::RowBlock& rows, float* scores) {
  if (panel.width < jmlr::kTileQueries) return jmlr::scalar::kernels().scan[2].scan(panel, rows, scores);
  jmlr::scan_tiles<EmulatedTiles, jmlr::TileInt8>(panel, rows, scores);
}

jmlr::Kernels emulated() {
  using jmlr::TileBfloat16, jmlr::TileInt8, jmlr::TileTest;
  jmlr::Kernels kernels = jmlr::scalar::kernels();
  kernels.scan[1] = {"emulated AMX", jmlr::kTileQueries, scan_bfloat16, false,
                     jmlr::sieve_tiles<EmulatedTiles, TileBfloat16, TileTest>};
  kernels.scan[2] = {"emulated AMX", jmlr::kTileQueries, scan_int8, false,
                     jmlr::sieve_tiles<EmulatedTiles, TileInt8, TileTest>};
  return kernels;
}

struct Coded {
  std::vector<uint8_t> codes;
  std::vector<float> scale, residual, norm;
  jmlr::IndexView view;
};

// Exactly as long as it says, so that a sanitizer sees what is read past the end.
Coded encoded(jmlr::Storage storage, const Matrix& x, size_t dim) {
  const size_t rows = x.size() / dim;
  Coded coded{std::vector<uint8_t>(rows * jmlr::code_stride(storage, dim)),
              std::vector<float>(rows),
              std::vector<float>(rows),
              std::vector<float>(rows),
              {}};
  jmlr::encode_rows(storage, x.data(), rows, dim, coded.codes.data(), coded.scale.data(), coded.residual.data(),
                    coded.norm.data());
  coded.view = {storage,
                rows,
                dim,
                x.data(),
                coded.codes.data(),
                storage == jmlr::Storage::int8 ? coded.scale.data() : nullptr,
                coded.residual.data(),
                coded.norm.data(),
                jmlr::max_of(coded.norm.data(), rows),
                nullptr};
  return coded;
}

// `tiny` scales some values down to where products, sums, or the codes themselves are denormal.
Matrix random_matrix(std::mt19937& random, size_t size, bool tiny) {
  std::normal_distribution<float> value;
  std::uniform_int_distribution<int> exponent(-75, -55);
  Matrix x(size);
  for (float& v : x) v = tiny ? std::ldexp(value(random), exponent(random)) : value(random);
  return x;
}

int wrong_answers() {
  std::mt19937 random(3);
  int cases = 0, wrong = 0;
  for (const size_t rows : {1, 15, 16, 17, 47, 96, 200}) {
    for (const size_t dim : {1, 31, 64, 100}) {
      for (const size_t count : {3, 16, 40}) {
        for (const bool tiny : {false, true}) {
          const Matrix x = random_matrix(random, rows * dim, tiny), q = random_matrix(random, count * dim, tiny);
          const size_t k = std::min<size_t>(rows, 7);
          const Result expected = reference(x, q, dim, k);
          for (const auto storage : {jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
            const Coded coded = encoded(storage, x, dim);
            Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
            jmlr::search(coded.view, q.data(), count, k, {2, emulated(), {}}, result.scores.data(), result.ids.data());
            ++cases;
            if (result == expected) continue;
            ++wrong;
            std::printf("wrong: storage %d [%zu, %zu] B=%zu tiny=%d\n", static_cast<int>(storage), rows, dim, count,
                        static_cast<int>(tiny));
          }
        }
      }
    }
  }
  std::printf("%d cases by emulation, %d wrong\n", cases, wrong);
  return wrong;
}

// The processor's scores against the emulation's, bit by bit.
int differences() {
  const std::vector<std::string> isas = jmlr::available_isas();
  if (std::find(isas.begin(), isas.end(), "avx512amx") == isas.end()) {
    std::printf("not compared with the processor: no AMX here, or the system grants none\n");
    return 0;
  }
  const jmlr::Kernels hardware = jmlr::select_kernels("avx512amx");
  std::mt19937 random(4);
  int compared = 0, different = 0;
  for (const auto storage : {jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
    const auto s = static_cast<size_t>(storage);
    for (const size_t rows : {1, 15, 16, 31, 32, 33, 96}) {
      for (const size_t dim : {1, 64, 100, 768}) {
        for (const bool tiny : {false, true}) {
          const Matrix x = random_matrix(random, rows * dim, tiny), q = random_matrix(random, 40 * dim, tiny);
          const Coded coded = encoded(storage, x, dim);
          const jmlr::QueryBlock block(storage, hardware.scan[s], q.data(), 40, dim, false,
                                       std::vector<double>(40, 1.0));
          for (const jmlr::QueryBlock::Panel& panel : block.panels()) {
            if (panel.view.width < jmlr::kTileQueries) continue;
            std::vector<float> ours(rows * panel.view.width), theirs(ours);
            emulated().scan[s].scan(panel.view, coded.view.block(0, rows), ours.data());
            hardware.scan[s].scan(panel.view, coded.view.block(0, rows), theirs.data());
            compared += static_cast<int>(ours.size());
            for (size_t i = 0; i < ours.size(); ++i) {
              different += std::memcmp(&ours[i], &theirs[i], sizeof(float)) != 0;
            }
          }
        }
      }
    }
  }
  std::printf("%d scores of the processor's, %d different\n", compared, different);
  return different;
}

// Of one panel: the sieve's hits and their scores against those of a scan and a filter.
int unlike_scan_and_filter(const jmlr::Kernels& kernels, size_t s, const jmlr::QueryPanel& panel,
                           const jmlr::RowBlock& rows, std::mt19937& random) {
  std::uniform_real_distribution<float> weight(0.0f, 0.1f);
  std::vector<float> a(rows.count), b(rows.count), u(panel.width), v(panel.width), floor(panel.width);
  for (auto* values : {&a, &b, &u, &v}) {
    for (float& value : *values) value = weight(random);
  }
  std::vector<float> scores(rows.count * panel.width), sieved(scores);
  kernels.scan[s].scan(panel, rows, scores.data());
  for (size_t j = 0; j < panel.width; ++j) {  // some let all in, some none, most a few
    floor[j] = j % 8 == 0   ? -jmlr::kLargest
               : j % 8 == 1 ? jmlr::kInfinity
                            : scores[random() % rows.count * panel.width + j];
  }
  const jmlr::FilterTerms terms{scores.data(), rows.count, panel.width, a.data(),    b.data(),
                                u.data(),      v.data(),   nullptr,     floor.data()};
  std::vector<jmlr::Hit> expected(scores.size()), hits(scores.size());
  expected.resize(kernels.filter(terms, expected.data()));
  hits.resize(kernels.scan[s].sieve(panel, rows, terms, sieved.data(), hits.data()));
  int wrong = hits.size() != expected.size();
  for (size_t h = 0; wrong == 0 && h < hits.size(); ++h) {
    const size_t at = hits[h].i * panel.width + hits[h].j;
    wrong = hits[h].i != expected[h].i || hits[h].j != expected[h].j ||
            std::memcmp(&scores[at], &sieved[h], sizeof(float)) != 0;
  }
  return wrong;
}

int unlike_sieves() {
  std::vector<jmlr::Kernels> tried{emulated()};
  const std::vector<std::string> isas = jmlr::available_isas();
  if (std::find(isas.begin(), isas.end(), "avx512amx") != isas.end()) {
    tried.push_back(jmlr::select_kernels("avx512amx"));
  }
  std::mt19937 random(5);
  int cases = 0, wrong = 0;
  for (const jmlr::Kernels& kernels : tried) {
    for (const auto storage : {jmlr::Storage::bfloat16, jmlr::Storage::int8}) {
      const auto s = static_cast<size_t>(storage);
      for (const size_t rows : std::initializer_list<size_t>{1, 16, 31, 33, 48, 100, jmlr::kSievedRows}) {
        for (const size_t dim : {1, 64, 100, 768}) {
          const Matrix x = random_matrix(random, rows * dim, false), q = random_matrix(random, 48 * dim, false);
          const Coded coded = encoded(storage, x, dim);
          const jmlr::QueryBlock block(storage, kernels.scan[s], q.data(), 48, dim, false,
                                       std::vector<double>(48, 1.0));
          for (const jmlr::QueryBlock::Panel& panel : block.panels()) {
            wrong += unlike_scan_and_filter(kernels, s, panel.view, coded.view.block(0, rows), random);
            ++cases;
          }
        }
      }
    }
  }
  std::printf("%d panels sieved, %d unlike a scan and a filter\n", cases, wrong);
  return wrong;
}

}  // namespace

int main() { return wrong_answers() + differences() + unlike_sieves() != 0; }
