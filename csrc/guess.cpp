#include "guess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "aligned.h"
#include "candidates.h"
#include "chunk_rows.h"
#include "floating_point.h"

namespace jmlr {
namespace {

constexpr size_t kTileRows = 96;
constexpr size_t kGroupRows = 32;            // sampled rows, at most, that only the highest of their scores stands for
constexpr size_t kMostSampled = 512u << 20;  // scores: a float for each group of them is kept, 256 MiB

// Sampled rows side by side, as a scan reads them.
class SampledTile {
 public:
  SampledTile(const IndexView& index, size_t stride, LiftFn lift)
      : index_(index),
        stride_(stride),
        lift_(lift),
        row_bytes_(index.block(0, 0).stride),
        codes_(kTileRows * row_bytes_) {}

  RowBlock gather(size_t first) {
    const Copies* const copies = known_copies(index_.copies);
    for (size_t r = 0; r < kTileRows; ++r) {
      rows_[r] = sampled_row(first + r, stride_);
      barred_[r] = copies != nullptr && copies->is_copy(rows_[r]);  // the scan leaves it out, too
      const RowBlock row = index_.block(rows_[r], 1);
      char* const out = codes_.data() + r * row_bytes_;
      if (lift_ != nullptr) {
        lift_(static_cast<const float*>(row.codes), index_.dim, reinterpret_cast<float*>(out));
      } else {
        std::memcpy(out, row.codes, row_bytes_);
      }
      if (row.scale != nullptr) scale_[r] = *row.scale;
    }
    return {codes_.data(), row_bytes_, kTileRows, index_.scale != nullptr ? scale_ : nullptr};
  }

  // Scores [kTileRows, width] of copies, and of rows that a query may not have, become -inf.
  void bar(const Selection& selection, const QueryBlock::Panel& panel, float* scores) const {
    const size_t width = panel.view.width;
    for (size_t r = 0; r < kTileRows; ++r, scores += width) {
      if (barred_[r] || selection.bars(rows_[r], rows_[r] + 1)) {
        std::fill_n(scores, width, kNoFloor);
      } else if (selection.by_query_too()) {
        for (size_t j = 0; j < panel.count; ++j) {
          if (!selection.allows(panel.first + j, rows_[r])) scores[j] = kNoFloor;
        }
      }
    }
  }

 private:
  const IndexView& index_;
  const size_t stride_;
  const LiftFn lift_;
  const size_t row_bytes_;
  AlignedBuffer<char> codes_;
  float scale_[kTileRows];
  size_t rows_[kTileRows];
  bool barred_[kTileRows] = {};
};

// The larger, the less there is to look through; but few of the `rank` best rows may share a group.
size_t group_rows(size_t rows, size_t rank) {
  size_t held = kGroupRows;
  while (held > 8 && rows / held < 16 * rank) held /= 2;
  return held;
}

// For each query of a panel a value that at least `rank` groups reach and few more: halves an interval, for all queries
// at once. -inf where fewer have a row that is not barred.
void reached_by(const float* highest, size_t groups, size_t width, size_t rank, float* low) {
  float high[kMaxWidth], middle[kMaxWidth];
  uint32_t count[kMaxWidth] = {};
  std::fill_n(low, width, std::numeric_limits<float>::infinity());
  std::fill_n(high, width, kNoFloor);
  for (size_t i = 0; i < groups * width; i += width) {
    for (size_t j = 0; j < width; ++j) {
      const float score = highest[i + j];
      low[j] = score > kNoFloor ? std::min(low[j], score) : low[j];
      high[j] = std::max(high[j], score);
      count[j] += static_cast<uint32_t>(score > kNoFloor);
    }
  }
  for (size_t j = 0; j < width; ++j) {
    if (count[j] < rank) low[j] = high[j] = kNoFloor;
  }
  for (int step = 0; step < 10; ++step) {
    for (size_t j = 0; j < width; ++j) middle[j] = low[j] + (high[j] - low[j]) * 0.5f;
    std::fill(count, count + width, 0u);
    for (size_t i = 0; i < groups * width; i += width) {
      for (size_t j = 0; j < width; ++j) count[j] += static_cast<uint32_t>(highest[i + j] >= middle[j]);
    }
    for (size_t j = 0; j < width; ++j) (count[j] >= rank ? low[j] : high[j]) = middle[j];
  }
}

}  // namespace

size_t sample_stride(Storage storage) {
  return storage == Storage::float32 ? 64 : 16;  // the wider the bounds, the more a floor is worth
}

// By the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
size_t sampled_row(size_t i, size_t stride) {
  uint64_t lot = (i + 1) * 0x9e3779b97f4a7c15u;
  lot = (lot ^ lot >> 30) * 0xbf58476d1ce4e5b9u;
  lot = (lot ^ lot >> 27) * 0x94d049bb133111ebu;
  return i * stride + (lot ^ lot >> 31) % stride;
}

std::vector<float> guess_floors(const IndexView& index, const Kernel& kernel, RaiseFn raise, LiftFn lift,
                                const QueryBlock& block, size_t k, const Selection& selection, Team& team) {
  size_t stride = sample_stride(index.storage);
  while (index.rows / stride * block.count() > kMostSampled) stride *= 2;
  // Of the k best rows about k / stride are in the sample; many more (four standard deviations) would be a rare case.
  const double expected = static_cast<double>(k) / static_cast<double>(stride);
  const auto rank = static_cast<size_t>(expected + 4.0 * std::sqrt(expected) + 4.0);
  const size_t tiles = index.rows / (stride * kTileRows);
  const size_t held = group_rows(tiles * kTileRows, rank);
  const size_t groups = tiles * (kTileRows / held);
  if (groups < 4 * rank) return {};  // the best rows would share groups, and a floor far too low is work for nothing

  const std::vector<QueryBlock::Panel>& panels = block.panels();
  std::vector<size_t> offset(panels.size() + 1, 0);
  for (size_t p = 0; p < panels.size(); ++p) offset[p + 1] = offset[p] + groups * panels[p].view.width;
  AlignedBuffer<float> highest(offset.back());  // by panel: [groups, width]
  WorkQueue sample(tiles, 1);
  team.run([&](size_t me) {
    AlignedBuffer<float> scores(kTileRows * kMaxWidth);
    SampledTile tile(index, stride, lift);
    const SubnormalsAreZero environment;
    for (size_t t, end; !team.stopping(me) && sample.claim(&t, &end);) {
      const RowBlock rows = tile.gather(t * kTileRows);
      for (size_t p = 0; p < panels.size(); ++p) {
        const QueryPanel& panel = panels[p].view;
        kernel.scan(panel, rows, scores.data());
        tile.bar(selection, panels[p], scores.data());
        for (size_t r = 0; r < kTileRows; r += held) {
          float* const peaks = highest.data() + offset[p] + (t * kTileRows + r) / held * panel.width;
          std::fill_n(peaks, panel.width, kNoFloor);
          raise(scores.data() + r * panel.width, held, panel.width, peaks);
        }
      }
    }
  });
  std::vector<float> floors(block.count());
  WorkQueue guess(panels.size(), 1);
  team.run([&](size_t me) {
    float low[kMaxWidth];
    for (size_t p, end; !team.stopping(me) && guess.claim(&p, &end);) {
      reached_by(highest.data() + offset[p], groups, panels[p].view.width, rank, low);
      std::copy(low, low + panels[p].count, floors.begin() + static_cast<std::ptrdiff_t>(panels[p].first));
    }
  });
  return floors;
}

float floor_from(std::vector<Candidate> seen, size_t k, size_t done, size_t chunks) {
  const double share = static_cast<double>(done) / static_cast<double>(chunks);
  const double expected = static_cast<double>(k) * share;
  const auto likely = static_cast<std::ptrdiff_t>(expected) + 1;
  const auto size = static_cast<std::ptrdiff_t>(seen.size());
  const auto higher = [](const Candidate& a, const Candidate& b) { return middle_of(a) > middle_of(b); };
  if (likely >= size) return kNoFloor;
  std::nth_element(seen.begin(), seen.begin() + likely, seen.end(), higher);
  // How many each chunk has of the likely ones varies by about as many where they are strewn, and by far more where
  // they are not. Chunks that share a place count as one.
  constexpr size_t kPlaces = 256;
  uint32_t held[kPlaces] = {};
  double squares = 0.0;
  for (auto one = seen.begin(); one < seen.begin() + likely; ++one) {
    squares += 2.0 * held[static_cast<size_t>(one->row()) / kChunkRows % kPlaces]++ + 1.0;
  }
  const auto likely_count = static_cast<double>(likely);
  const double varies = squares - likely_count * likely_count / static_cast<double>(std::min(done, kPlaces));
  if (varies > 2.0 * likely_count) return kNoFloor;
  const double variance = (1.0 - share) * std::max(varies, likely_count);
  const auto rank = static_cast<std::ptrdiff_t>(expected + 4.0 * std::sqrt(variance) + 4.0);
  if (rank > size) return kNoFloor;
  std::nth_element(seen.begin() + likely, seen.begin() + rank - 1, seen.end(), higher);
  return middle_of(seen[static_cast<size_t>(rank) - 1]);
}

}  // namespace jmlr
