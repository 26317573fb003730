// The cases of MaxSim in test_cuda.cpp: layout, searches.
#pragma once

#include "cuda/maxsim.h"
#include "cuda_cases.h"
#include "maxsim_reference.h"

namespace {

int test_passage_layout(int& wrong) {
  std::mt19937 random(9);
  std::uniform_int_distribution<int64_t> length(1, 300);
  std::vector<int64_t> offsets{0}, lengths;
  for (int i = 0; i < 3000; ++i) {
    lengths.push_back(i % 50 == 7 ? 1500 : i < 1000 ? 1 + i % 3 : length(random));
    offsets.push_back(offsets.back() + lengths.back());
  }
  const PassageLayout passages = layout_of(offsets.data(), lengths.size());
  wrong += passages.padded % kTileRows != 0 || passages.chunk.back() != lengths.size();
  for (size_t c = 0; c + 1 < passages.chunk.size(); ++c) {
    const uint32_t begin = passages.rows[passages.chunk[c]].begin;
    uint32_t next = begin;
    wrong += begin % kTileRows != 0 || passages.chunk[c] >= passages.chunk[c + 1];
    for (uint32_t p = passages.chunk[c]; p < passages.chunk[c + 1]; ++p) {  // one after another, each with its length
      wrong += passages.rows[p].begin != next || passages.rows[p].end - next != lengths[p];
      next = passages.rows[p].end;
    }
    wrong += next > passages.padded || passages.chunk[c + 1] - passages.chunk[c] > kChunkPassages ||
             (next - begin > kChunkRows && passages.chunk[c + 1] - passages.chunk[c] != 1);
  }
  for (const uint32_t width : {64u, 128u}) {
    const QueryLayout queries = query_layout_of(lengths.data(), lengths.size(), width);
    uint32_t query = 0;
    uint32_t tile = 0;
    for (const Group& group : queries.groups) {  // each query once, within its group's tiles
      wrong += group.first_query != query || group.first_tile != tile || (group.tiles > 1 && group.queries != 1);
      query += group.queries;
      tile += group.tiles;
      for (uint32_t q = group.first_query; q < query; ++q) {
        wrong += queries.slots[q].begin < group.first_tile * width || queries.slots[q].end > tile * width;
        wrong += queries.slots[q].end - queries.slots[q].begin != lengths[q];
      }
    }
    wrong += query != lengths.size() || tile * width != queries.padded;
  }
  return 3;
}

// Groups of token rows "on the device" in the places that `ranges` gives them, zero between.
Matrix placed(const TokenRows& rows, const std::vector<Range>& ranges, size_t padded, size_t dim) {
  Matrix out(padded * dim);
  for (size_t g = 0; g < ranges.size(); ++g) {
    const float* first = rows.values.data() + static_cast<size_t>(rows.offsets[g]) * dim;
    std::copy_n(first, (ranges[g].end - ranges[g].begin) * dim, out.data() + ranges[g].begin * dim);
  }
  return out;
}

Result maxsim_found(Storage storage, const TokenRows& x, const TokenRows& q, uint32_t dim, uint32_t k, size_t* exact) {
  const PassageLayout layout = layout_of(x.offsets.data(), x.groups());
  const Built built(storage, placed(x, layout.rows, layout.padded, dim), dim);
  const auto passage_count = static_cast<uint32_t>(x.groups());
  const std::vector<float> residual(passage_count), norm(passage_count);
  const Passages passages{passage_count,
                          static_cast<uint32_t>(layout.chunk.size()) - 1,
                          layout.rows.data(),
                          layout.chunk.data(),
                          residual.data(),
                          norm.data(),
                          nullptr};
  bound_passages(built.rows, passages, nullptr);
  const auto count = static_cast<uint32_t>(q.groups());
  std::vector<int64_t> lengths;
  for (uint32_t i = 0; i < count; ++i) lengths.push_back(q.offsets[i + 1] - q.offsets[i]);
  const QueryLayout queries = query_layout_of(lengths.data(), count, group_width(storage));
  const Matrix tokens = placed(q, queries.slots, queries.padded, dim);
  const float most_tokens =
      lengths.empty() ? 0.0f : static_cast<float>(*std::max_element(lengths.begin(), lengths.end()));
  const float reach = built.max_norm[0] * most_tokens;
  Result result{std::vector<float>(count * k), std::vector<int64_t>(count * k)};
  std::vector<int32_t> overflow(count);
  unsigned long long bad = 0;
  const size_t bytes = std::max<size_t>(maxsim_workspace_bytes(built.rows, queries.padded, count, k), 1024);
  const std::unique_ptr<void, void (*)(void*)> workspace(std::aligned_alloc(1024, bytes), std::free);
  std::memset(workspace.get(), 0xff, bytes);
  const PassageCall call{tokens.data(),
                         queries.padded,
                         queries.slots.data(),
                         queries.groups.data(),
                         static_cast<uint32_t>(queries.groups.size()),
                         count,
                         k,
                         &reach,
                         result.scores.data(),
                         result.ids.data(),
                         overflow.data(),
                         &bad,
                         workspace.get()};
  maxsim(built.rows, passages, layout.chunk, call, {3, false}, nullptr);
  std::vector<int32_t> which;
  for (uint32_t i = 0; i < count; ++i) {
    if (overflow[i] != 0) which.push_back(static_cast<int32_t>(i));
  }
  *exact = which.size();
  maxsim_exactly(built.rows, passages, call, which.data(), static_cast<uint32_t>(which.size()), nullptr);
  return result;
}

int test_maxsim(bool quick, int& wrong) {
  // passages, tokens of the longest, queries, tokens of the longest, D, k
  const uint32_t shapes[][6] = {{0, 1, 2, 3, 3, 4},      {5, 3, 1, 1, 1, 9},     {700, 5, 3, 9, 37, 10},
                                {12, 1300, 3, 70, 5, 4}, {60, 30, 3, 300, 9, 3}, {5000, 1, 2, 3, 4, 17}};
  std::mt19937 random(1);
  int cases = 0;
  for (const auto& [passages, longest, count, most, dim, k] : shapes) {
    if (quick && (longest > 1000 || most > 100 || passages > 1000)) continue;
    for (const int levels : {1, 1000000}) {  // one level: nearly all scores tie
      const TokenRows x = random_rows(random, passages, longest, dim, levels);
      const TokenRows q = random_rows(random, count, most, dim, levels);
      const Result expected = maxsim_reference(x, q, dim, k);
      for (const auto storage : {Storage::float32, Storage::bfloat16, Storage::int8}) {
        ++cases;
        size_t exact = 0;
        if (maxsim_found(storage, x, q, dim, k, &exact) == expected && (levels == 1 || exact == 0)) continue;
        ++wrong;
        std::printf("wrong: MaxSim, storage %d N=%u of %u, B=%u of %u, D=%u k=%u levels=%d, %zu answered exactly\n",
                    static_cast<int>(storage), passages, longest, count, most, dim, k, levels, exact);
      }
    }
  }
  return cases;
}

// The best passages are those that the tensor cores' truncation takes most from.
int test_maxsim_rounding(int& wrong) {
  const uint32_t dim = 512;
  TokenRows x{rows_that_truncation_misorders(dim), {}};
  x.offsets.resize(x.values.size() / dim + 1);
  std::iota(x.offsets.begin(), x.offsets.end(), int64_t{0});
  const TokenRows q{Matrix(3 * dim, 1.0f), {0, 3}};
  size_t exact = 0;
  const bool same = maxsim_found(Storage::bfloat16, x, q, dim, 5, &exact) == maxsim_reference(x, q, dim, 5);
  wrong += !same || exact != 0;
  return 1;
}

}  // namespace
