// First floors for a search, guessed from a sample of the rows.
//
// Without a floor the first rows of an index are all let in, and where bounds are wide many more follow, since what is
// proved (k lower ends) lags behind what is true. A guess need not be proved: a search ends by looking whether the k-th
// best score reaches the floor, and does without a guess for the queries where it does not.
#pragma once

#include <vector>

#include "candidates.h"
#include "encode.h"
#include "kernel.h"
#include "parallel.h"
#include "topk.h"

namespace jmlr {

// One row of so many is scored.
size_t sample_stride(Storage storage);

// The i-th row of the sample, one of rows [i * stride, (i + 1) * stride).
size_t sampled_row(size_t i, size_t stride);

// A floor for each query, below the k-th best score of its scan all but surely; empty where the index is too small to
// tell. Sampled rows are drawn by lot, one from each stretch: rows stored side by side are often alike, and what recurs
// at equal distances would meet a comb with none of its teeth or all. Only rows that a query may have count; since the
// lot does not ask which they are, their share of the sample is that of the whole. `lift` is null where rows need not
// be lifted.
std::vector<float> guess_floors(const IndexView& index, const Kernel& kernel, RaiseFn raise, LiftFn lift,
                                const QueryBlock& block, size_t k, const Selection& selection, Team& team);

// A floor for a query, guessed from the rows that a scan has let in when it was through with `done` of
// all chunks: about that share of the k best rows should be among them. -inf where there are too few to tell, or where
// good rows lie side by side: then one chunk may hold all.
float floor_from(std::vector<Candidate> seen, size_t k, size_t done, size_t chunks);

}  // namespace jmlr
