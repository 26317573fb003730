#include "cuda/exact_passages.cuh"
#include "cuda/lists.h"
#include "cuda/maxsim.h"

namespace jmlr::cuda {
namespace {

constexpr uint32_t kExactBlocks = 64;  // for each query: a few candidates each, rarely many

struct BoundPassages {
  Rows rows;
  Passages passages;
  float* residual;
  float* norm;
};

// A warp for each passage.
JMLR_KERNEL(256, 4) bound_passages_kernel(BoundPassages a) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t passage = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (passage >= a.passages.count) return;  // whole warps
  const Range rows = a.passages.rows[passage];
  float residual = 0.0f;
  float norm = 0.0f;
  for (uint32_t row = rows.begin + lane; row < rows.end; row += 32) {
    residual = most(residual, a.rows.residual[row]);
    norm = most(norm, a.rows.norm[row]);
  }
  residual = warp_max(residual);
  norm = warp_max(norm);
  if (lane != 0) return;
  a.residual[passage] = residual;
  a.norm[passage] = norm;
}

struct BoundQueries {
  const Range* slots;
  const ErrorBound* token_bound;  // [slots of the batch]
  const int32_t* token_unsafe;    // [slots]: not zero where a scan may overflow
  SumBound* bound;
  Candidates out;
  uint32_t count;
};

// A warp for each query.
JMLR_KERNEL(256, 4) bound_queries_kernel(BoundQueries a) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t query = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (query >= a.count) return;  // whole warps
  const Range slots = a.slots[query];
  SumBound mine;
  float unsafe = 0.0f;
  for (uint32_t t = slots.begin + lane; t < slots.end; t += 32) {
    mine.add(a.token_bound[t], SumBound::slack(slots.end - slots.begin));
    if (a.token_unsafe[t] != 0) unsafe = 1.0f;
  }
  mine = {warp_sum(mine.residual), warp_sum(mine.norm), warp_sum(mine.constant)};
  unsafe = warp_max(unsafe);
  if (lane != 0) return;
  a.bound[query] = mine;
  a.out.floor[query] = unsafe != 0.0f ? kInfinity : -kInfinity;
  a.out.overflow[query] = unsafe != 0.0f ? 1 : 0;
  a.out.count[query] = 0;
}

// All memory of a batch, in the workspace. The list comes first: the slow path takes it from the same workspace.
struct PassageBatch {
  Candidates list;
  Queries tokens;
  Candidates by_token;  // of which preparing the tokens needs floor, overflow and count
  SumBound* bound;
};

PassageBatch carve_passages(Arena& arena, const Rows& rows, uint32_t slot_count, uint32_t count, uint32_t k) {
  PassageBatch b{};
  b.list = carve_list(arena, rows.storage, count, k);
  Queries& q = b.tokens;
  q.count = slot_count;
  q.units = units_of(rows.storage, rows.dim);
  q.height = kTileRows;
  q.padded = slot_count * (rows.storage == Storage::int8 ? 2 : 1);
  q.packed = arena.take<uint8_t>(static_cast<size_t>(q.padded) * q.units * kUnitBytes);
  q.scale = arena.take<float>(size_t{2} * slot_count);
  q.bound = arena.take<ErrorBound>(slot_count);
  b.by_token.floor = arena.take<float>(slot_count);
  b.by_token.overflow = arena.take<int32_t>(slot_count);
  b.by_token.count = arena.take<uint32_t>(slot_count);
  b.bound = arena.take<SumBound>(count);
  return b;
}

}  // namespace

void bound_passages(const Rows& rows, const Passages& passages, cudaStream_t stream) {
  launch(bound_passages_kernel, divide_up(passages.count, 8u), 1, 256, 0, stream,
         BoundPassages{rows, passages, const_cast<float*>(passages.residual), const_cast<float*>(passages.norm)});
}

size_t maxsim_workspace_bytes(const Rows& rows, uint32_t slot_count, uint32_t count, uint32_t k) {
  Arena arena(nullptr);
  carve_passages(arena, rows, slot_count, count, k);
  return arena.used();
}

void maxsim(const Rows& rows, const Passages& passages, const std::vector<uint32_t>& chunk, const PassageCall& call,
            const Device& device, cudaStream_t stream) {
  Arena arena(call.workspace);
  PassageBatch b = carve_passages(arena, rows, call.slot_count, call.count, call.k);
  b.list.overflow = call.overflow;
  b.tokens.exact = call.tokens;
  b.tokens.bad = call.bad;
  fill_bytes(call.bad, 0xff, sizeof *call.bad, stream);
  const Packing packing = rows.storage == Storage::float32 ? Packing::streaming : Packing::tiles;
  prepare_queries({rows.storage, packing, rows.dim, b.tokens, b.by_token, call.reach, 0}, stream);
  launch(bound_queries_kernel, divide_up(call.count, 8u), 1, 256, 0, stream,
         BoundQueries{call.slots, b.tokens.bound, b.by_token.overflow, b.bound, b.list, call.count});
  if (call.k == 0) return;
  const Plan plan = plan_of(rows.storage, call.k);
  const Order order = order_of(passages.chunks);
  Phase phase{0, first_chunks(chunk, order, plan.capacity), false};
  for (; phase.first < order.tiles; phase = next_phase(plan, order, phase.last)) {
    const Scan scan{rows, b.tokens, b.list, order, phase};
    launch_passage_scan({scan, passages, call.slots, call.groups, call.group_count, b.bound}, device, stream);
    tighten(b.list, call.count, stream);
  }
  launch(exact_passages_kernel, kExactBlocks, call.count, 128, 0, stream,
         ExactPassages{rows, passages.rows, call.tokens, call.slots, nullptr, b.list, false, 0, 0, 0});
  const Ids ids{passages.ids, 0, 0};
  keep_best(b.list, ids, call.count, stream);
  finish(b.list, ids, call.count, nullptr, call.scores, call.ids, stream);
}

void maxsim_exactly(const Rows& rows, const Passages& passages, const PassageCall& call, const int32_t* which,
                    uint32_t count, cudaStream_t stream) {
  if (call.k == 0) return;
  Arena arena(call.workspace);
  const Candidates list = carve_list(arena, rows.storage, count, call.k);
  const Ids ids{passages.ids, 0, 0};
  best_of_all(list, ids, count, passages.count, stream, [&](uint32_t first, uint32_t taken, uint32_t kept) {
    launch(exact_passages_kernel, least(taken, 16 * kExactBlocks), count, 128, 0, stream,
           ExactPassages{rows, passages.rows, call.tokens, call.slots, which, list, true, first, taken, kept});
  });
  finish(list, ids, count, which, call.scores, call.ids, stream);
}

}  // namespace jmlr::cuda
