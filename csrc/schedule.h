// How a scan of the index is cut into units of work, and who does them when.
#pragma once

#include <algorithm>
#include <cstddef>

#include "chunk_rows.h"
#include "encode.h"
#include "kernel.h"
#include "parallel.h"

namespace jmlr {

constexpr size_t kPanelBytes = 512u << 10;  // of the panels taken past all rows together: they stay in L2

// A unit is some panels of queries past some chunks of rows. With many queries a unit takes as many panels as stay in
// cache past a thirty-second of the rows; with few, all panels past a chunk, so that memory is read once: the more
// bytes a row has, the more queries it takes to pay for reading them again, and for tiles it never pays. Units are done
// part of the rows by part, so that a share of them is about that share of the rows.
class Schedule {
 public:
  Schedule(size_t rows, const Kernel& kernel, Storage storage, const QueryBlock& block, size_t threads)
      : rows_(rows),
        panels_(block.panels().size()),
        taken_(panels_taken(kernel, storage, block, threads)),
        chunks_((rows + kChunkRows - 1) / kChunkRows),
        held_(taken_ == panels_ ? 1 : chunks_ / kParts + 1),
        parts_((chunks_ + held_ - 1) / held_),
        groups_((panels_ + taken_ - 1) / taken_),
        visits_(chunks_) {}

  size_t chunks() const { return chunks_; }
  size_t units() const { return parts_ * groups_; }
  // The first units, that go past 1/n of the rows or less; and how many chunks that is.
  size_t units_of(size_t n) const { return parts_ / n * groups_; }
  size_t chunks_of(size_t n) const { return parts_ / n * held_; }

  // Calls scan(worker, first row of a chunk, that of the chunk to come, first panel, last panel + 1) for all of units
  // [first, last). After the last chunk comes row `rows`.
  template <class Scan>
  void run(size_t first, size_t last, Team& team, const Scan& scan) const {
    WorkQueue work(last - first, 1);
    team.run([&](size_t me) {
      size_t claimed, end, next_claimed = 0;
      for (bool more = work.claim(&claimed, &end); more; claimed = next_claimed) {
        const size_t unit = first + claimed, from = unit % groups_ * taken_;
        const size_t last_chunk = std::min(first_chunk(unit) + held_, chunks_) - 1;
        for (size_t chunk = first_chunk(unit); chunk <= last_chunk; ++chunk) {
          if (team.stopping(me)) return;
          size_t next = chunk + 1;
          if (chunk == last_chunk) {  // claimed by now, so that its rows are fetched during the products
            more = work.claim(&next_claimed, &end);
            next = more ? first_chunk(first + next_claimed) : chunks_;
          }
          scan(me, row(chunk), row(next), from, std::min(from + taken_, panels_));
        }
      }
    });
  }

 private:
  static constexpr size_t kParts = 32;  // about
  static size_t panels_taken(const Kernel& kernel, Storage storage, const QueryBlock& block, size_t threads) {
    const size_t panels = block.panels().size();
    const size_t bytes = storage == Storage::float32 ? 4 : storage == Storage::bfloat16 ? 2 : 1;
    if (kernel.sieve != nullptr || panels < bytes * threads) return panels;
    const size_t held = kPanelBytes / (2 * kernel.lanes * 4 * block.panels()[0].view.unit_count);
    return std::clamp(held, size_t{1}, (panels - 1) / threads + 1);
  }
  size_t first_chunk(size_t unit) const { return unit / groups_ * held_; }
  size_t row(size_t chunk) const { return chunk < chunks_ ? visits_[chunk] * kChunkRows : rows_; }

  const size_t rows_, panels_, taken_, chunks_, held_, parts_, groups_;
  const Visits visits_;
};

}  // namespace jmlr
