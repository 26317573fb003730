// The cases of test_cuda.cpp: layout, searches, hostile rows, merge.
#pragma once

#include <cstdio>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "cuda/search.h"
#include "reference.h"

namespace {

using namespace jmlr::cuda;
using jmlr::Storage;

// An index "on the device", with every column a block of memory of its own so that a sanitizer sees each end.
struct Built {
  std::vector<float> vectors, scale, residual, norm, tile_residual, tile_norm, max_norm;
  std::vector<uint8_t> codes;
  unsigned long long bad = 0;
  Rows rows{};
  Built(Storage storage, const Matrix& x, uint32_t dim) {
    const auto count = static_cast<uint32_t>(x.size() / dim);
    const uint32_t stride = vector_stride(dim);
    const Columns sizes = columns_of(storage, count, dim);
    vectors.assign(size_t{count} * stride, 0.0f);
    for (size_t r = 0; r < count; ++r) std::copy_n(x.data() + r * dim, dim, vectors.data() + r * stride);
    codes.resize(sizes.codes);
    scale.resize(storage == Storage::int8 ? sizes.padded_rows : 0);
    for (auto* column : {&residual, &norm}) column->resize(sizes.padded_rows);
    for (auto* column : {&tile_residual, &tile_norm}) column->resize(sizes.tiles);
    max_norm.resize(1);
    rows = {storage,
            count,
            dim,
            stride,
            vectors.data(),
            storage == Storage::float32 ? nullptr : codes.data(),
            storage == Storage::int8 ? scale.data() : nullptr,
            residual.data(),
            norm.data(),
            tile_residual.data(),
            tile_norm.data(),
            max_norm.data(),
            nullptr,
            0};
    encode(rows, &bad, nullptr);
  }
};

// `exact` returns how many queries the slow path had to answer.
Result found(const Rows& rows, const Matrix& q, uint32_t k, bool hopper, size_t* exact = nullptr) {
  const size_t count = q.size() / rows.dim;
  const Device device{3, hopper};
  Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
  std::vector<int32_t> overflow(count);
  unsigned long long bad = 0;
  const size_t bytes = workspace_bytes(rows, count, k, device);
  const std::unique_ptr<void, void (*)(void*)> workspace(std::aligned_alloc(1024, std::max<size_t>(bytes, 1024)),
                                                         std::free);
  std::memset(workspace.get(), 0xff, bytes);
  const Call call{q.data(), count, k, result.scores.data(), result.ids.data(), overflow.data(), &bad, workspace.get()};
  search(rows, call, device, nullptr);
  std::vector<int32_t> which;
  for (size_t i = 0; i < count; ++i) {
    if (overflow[i] != 0) which.push_back(static_cast<int32_t>(i));
  }
  if (exact != nullptr) *exact = which.size();
  if (!which.empty() && k != 0) search_exactly(rows, call, which.data(), which.size(), nullptr);
  return result;
}

Matrix random_matrix(std::mt19937& random, size_t size, int levels) {
  std::uniform_int_distribution<int> level(-levels, levels);
  Matrix m(size);
  for (float& value : m) value = static_cast<float>(level(random)) / 1024.0f;
  return m;
}

int test_layout(int& wrong) {
  // every byte of a tile has a place of its own, and the descriptor finds it there
  std::vector<int> seen(128 * 128);
  for (uint32_t r = 0; r < 128; ++r) {
    for (uint32_t b = 0; b < 128; ++b) ++seen[swizzled(r, b)];
  }
  for (const int times : seen) wrong += times != 1;
  for (uint32_t tiles = 1; tiles < 300; ++tiles) {  // every tile is visited once
    const Order order = order_of(tiles);
    std::vector<int> visits(tiles);
    for (uint32_t p = 0; p < tiles; ++p) ++visits[order.tile_at(p)];
    for (const int times : visits) wrong += times != 1;
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {  // the prefilter lets through whatever the test itself would
    const auto any = [&] { return jmlr::float_of(static_cast<uint32_t>(random())); };
    const float floor = any();
    const float error = std::fabs(any());
    if (!std::isfinite(floor) || !std::isfinite(error) || std::fabs(floor) > 1e37f || error > 1e37f) continue;
    float score = floor - error;
    for (int step = 0; step < 6; ++step) {
      wrong += score + error >= floor && !(score >= prefilter(floor, error));
      score = std::nextafter(score, -INFINITY);
    }
  }
  for (int i = 0; i < 100000; ++i) {  // keys order as scores do
    const float a = jmlr::float_of(static_cast<uint32_t>(random()));
    const float b = jmlr::float_of(static_cast<uint32_t>(random()));
    if (std::isnan(a) || std::isnan(b)) continue;
    wrong += (a < b) != (score_key(a) < score_key(b)) || score_of_key(score_key(a)) != a;
  }
  wrong += score_key(0.0f) != score_key(-0.0f);
  return 5;
}

// (rows, dim, queries, k): empty sides, odd D, both sides of every path's limit, k past the rows, several phases.
int test_searches(bool quick, int& wrong) {
  const uint32_t shapes[][4] = {{0, 3, 2, 4},      {5, 1, 1, 9},     {300, 37, 3, 10},   {1000, 130, 6, 17},
                                {4500, 20, 1, 10}, {4300, 9, 4, 3},  {700, 64, 33, 5},   {4200, 33, 17, 20},
                                {600, 70, 70, 3},  {130, 5, 300, 2}, {9000, 4, 2, 1100}, {5, 70, 40, 0},
                                {256, 1000, 6, 4}};
  std::mt19937 random(1);
  int cases = 0;
  for (const auto& [rows, dim, count, k] : shapes) {
    if (quick && (count > 64 || uint64_t{rows} * count * dim > 2000000)) continue;
    for (const int levels : {2, 1000000}) {  // two levels: nearly all scores tie
      const Matrix x = random_matrix(random, size_t{rows} * dim, levels);
      const Matrix q = random_matrix(random, size_t{count} * dim, levels);
      const Result expected = reference(x, q, dim, k);
      for (const auto storage : {Storage::float32, Storage::bfloat16, Storage::int8}) {
        const Built index(storage, x, dim);
        wrong += index.bad != ~0ull;
        for (const bool hopper : {false, true}) {
          if (hopper && path_of(storage, count, {1, true}) != Path::wgmma) continue;
          ++cases;
          size_t exact = 0;
          const Result result = found(index.rows, q, k, hopper, &exact);
          if (result == expected && (levels == 2 || exact == 0)) continue;
          ++wrong;
          std::printf("wrong: storage %d [%u, %u] B=%u k=%u levels=%d hopper=%d, %zu answered exactly\n",
                      static_cast<int>(storage), rows, dim, count, k, levels, hopper, exact);
        }
      }
    }
  }
  return cases;
}

Matrix hostile(const std::string& kind, std::mt19937& random, size_t rows, size_t dim) {
  std::normal_distribution<float> normal;
  Matrix x(rows * dim);
  for (float& value : x) value = normal(random);
  for (size_t r = 0; r < rows; ++r) {
    float* row = x.data() + r * dim;
    if (kind == "all rows equal") std::copy_n(x.data(), dim, row);
    if (kind == "one ulp apart") {
      for (size_t d = 0; d < dim; ++d) row[d] = std::fabs(x[d]);
      row[r % dim] = std::nextafter(row[r % dim], 9.0f);
    }
    for (size_t d = 0; d < dim; ++d) {
      if (kind == "negative scores") row[d] = -std::fabs(row[d]);
      if (kind == "ascending") row[d] = static_cast<float>(r) + row[d] * 0.01f;
      if (kind == "huge and tiny") row[d] *= std::pow(10.0f, static_cast<float>(static_cast<int>(r % 80) - 45));
      if (kind == "denormal") row[d] *= 1e-41f;
      if (kind == "zero rows" && r % 2 == 0) row[d] = 0.0f;
      if (kind == "one row dominates" && r == rows / 2) row[d] *= 1e6f;
    }
  }
  return x;
}

int test_adversarial(bool quick, int& wrong) {
  std::mt19937 random(3);
  int cases = 0;
  for (const std::string kind : {"all rows equal", "one ulp apart", "negative scores", "ascending", "huge and tiny",
                                 "denormal", "zero rows", "one row dominates"}) {
    if (quick && kind != "one ulp apart" && kind != "huge and tiny") continue;
    const uint32_t rows = 4500;
    const Matrix x = hostile(kind, random, rows, 12);
    for (const size_t count : {1, 6}) {
      Matrix q = hostile("", random, count, 12);
      for (float& value : q) value = std::fabs(value) * (kind == "denormal" ? 1e25f : 1.0f);
      const Result expected = reference(x, q, 12, 11);
      for (const auto storage : {Storage::float32, Storage::bfloat16, Storage::int8}) {
        const Built index(storage, x, 12);
        for (const bool hopper : {false, true}) {
          if (hopper && path_of(storage, count, {1, true}) != Path::wgmma) continue;
          ++cases;
          size_t exact = 0;
          const bool same = found(index.rows, q, 11, hopper, &exact) == expected;
          const bool must = kind == "all rows equal" || kind == "huge and tiny";  // only the slow path can tell
          const bool must_not = kind == "negative scores" || kind == "ascending" || kind == "one row dominates";
          if (same && (!must || exact == count) && (!must_not || exact == 0)) continue;
          ++wrong;
          std::printf("wrong: %s, storage %d B=%zu hopper=%d, %zu answered exactly\n", kind.c_str(),
                      static_cast<int>(storage), count, hopper, exact);
        }
      }
    }
  }
  return cases;
}

// Rows that bfloat16 holds exactly, so that nothing but the tensor cores' rounding parts a scan from the truth. All
// hold the same numbers; the best, by a last one, begin with the large ones, so that truncation takes more from them
// than that.
Matrix rows_that_truncation_misorders(uint32_t dim) {
  std::mt19937 random(11);
  Matrix base(dim - 1), x;
  for (float& value : base) {
    value = static_cast<float>(128 + random() % 128) * std::exp2(-static_cast<float>(6 + random() % 20));
  }
  std::sort(base.begin(), base.end());
  for (uint32_t r = 0; r < 1000; ++r) {
    const bool best = r % 200 == 7;
    x.insert(x.end(), base.begin(), base.end());
    if (best) std::reverse(x.end() - static_cast<long>(base.size()), x.end());
    x.push_back(best ? 0x1p-12f : 0.0f);
  }
  return x;
}

int test_rounding(int& wrong) {
  const uint32_t dim = 512;
  const Matrix x = rows_that_truncation_misorders(dim);
  const Matrix q(6 * dim, 1.0f);
  const Result expected = reference(x, q, dim, 5);
  const Built index(Storage::bfloat16, x, dim);
  for (const bool hopper : {false, true}) wrong += !(found(index.rows, q, 5, hopper) == expected);
  return 2;
}

int test_merge(int& wrong) {
  std::mt19937 random(5);
  const uint32_t dim = 4;
  const size_t count = 3;
  const uint32_t k = 700;  // 9 parts: wider than a list
  const Matrix x = random_matrix(random, 5000 * dim, 3);
  const Matrix q = random_matrix(random, count * dim, 3);
  std::vector<float> scores;
  std::vector<int64_t> ids;
  const size_t parts = 9;
  scores.resize(count * parts * k);
  ids.resize(count * parts * k);
  for (size_t p = 0; p < parts; ++p) {
    const Matrix part(x.begin() + static_cast<long>(p * 560 * dim),
                      x.begin() + static_cast<long>(std::min<size_t>(5000, (p + 1) * 560) * dim));
    const Result result = reference(part, q, dim, k);
    for (size_t b = 0; b < count; ++b) {
      for (size_t i = 0; i < k; ++i) {
        const int64_t id = result.ids[b * k + i];
        scores[(b * parts + p) * k + i] = result.scores[b * k + i];
        ids[(b * parts + p) * k + i] = id < 0 ? -1 : id + static_cast<int64_t>(p * 560);
      }
    }
  }
  Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
  std::vector<uint8_t> workspace(merge_bytes(count, k) + 1024);
  void* aligned = workspace.data() + (1024 - reinterpret_cast<uintptr_t>(workspace.data()) % 1024);
  merge(scores.data(), ids.data(), parts * k,
        {nullptr, count, k, result.scores.data(), result.ids.data(), nullptr, nullptr, aligned}, nullptr);
  wrong += !(result == reference(x, q, dim, k));
  return 1;
}

}  // namespace
