#include "cuda/encode.cuh"
#include "cuda/exact.cuh"
#include "cuda/lists.h"
#include "cuda/search.h"
#include "cuda/select.cuh"

namespace jmlr::cuda {
namespace {

struct LoadParts {
  const float* scores;  // [count, width]
  const int64_t* ids;
  uint64_t width, first, last;  // columns [first, last)
  Candidates list;
};

// Appends what is not padding to the lists, whose room the caller knows to suffice.
JMLR_KERNEL(256, 4) load_parts_kernel(LoadParts a) {
  const uint64_t column = a.first + blockIdx.x * 256 + threadIdx.x;
  const uint64_t at = blockIdx.y * a.width + column;
  if (column < a.last && a.ids[at] >= 0) {
    append(a.list, blockIdx.y, a.scores[at], a.scores[at], static_cast<uint32_t>(column));
  }
}

void launch_wgmma(const Scan& scan, const Device& device, cudaStream_t stream) {
#if JMLR_WITH_HOPPER
  launch_hopper(scan, device, stream);
#else
  (void)scan, (void)device, (void)stream;
  throw std::logic_error("built without kernels for sm_90a");
#endif
}

// All memory of a batch of queries, in the workspace.
struct Batch {
  Queries queries;
  Candidates list;
};

bool tensor_cores(Path path) { return path == Path::mma || path == Path::wgmma; }

// The list comes first: the slow path takes it from the same workspace.
Batch carve(Arena& arena, const Rows& rows, uint64_t batch, uint32_t k, Path path) {
  Batch b{};
  b.list = carve_list(arena, rows.storage, batch, k);
  Queries& q = b.queries;
  q.units = units_of(rows.storage, rows.dim);
  q.count = static_cast<uint32_t>(batch);
  const uint32_t columns = q.count * (rows.storage == Storage::int8 ? 2 : 1);
  q.height = path == Path::mma ? 128 : columns <= 16 ? 16 : columns <= 64 ? 64 : 256;
  q.padded = round_to(columns, q.height);
  q.packed = arena.take<uint8_t>(tensor_cores(path) ? tiled_bytes(columns, q.units, q.height)
                                                    : static_cast<size_t>(q.count) * q.units * kUnitBytes * 2);
  q.scale = arena.take<float>(2 * batch);
  q.bound = arena.take<ErrorBound>(batch);
  return b;
}

void search_batch(const Rows& rows, const Call& call, uint64_t first, Batch b, Path path, const Device& device,
                  cudaStream_t stream) {
  const uint32_t count = b.queries.count;
  b.queries.exact = call.queries + first * rows.dim;
  b.queries.first = first;
  b.queries.bad = call.bad;
  b.list.overflow = call.overflow + first;
  const Plan plan = plan_of(rows.storage, call.k);
  const Order order = order_of(divide_up(rows.rows, kTileRows));
  const Phase dense = next_phase(plan, order, 0);
  prepare_queries({rows.storage, tensor_cores(path) ? Packing::tiles : Packing::streaming, rows.dim, b.queries, b.list,
                   rows.max_norm, dense.last * kTileRows},
                  stream);
  if (call.k == 0) return;
  for (Phase phase = dense; phase.first < order.tiles; phase = next_phase(plan, order, phase.last)) {
    const Scan scan{rows, b.queries, b.list, order, phase};
    path == Path::wgmma ? launch_wgmma(scan, device, stream) : launch_scan(path, scan, device, stream);
    tighten(b.list, count, stream);
  }
  launch(exact_kernel, divide_up(plan.capacity, 128u), count, 128, 0, stream,
         Exact{rows, b.queries.exact, nullptr, b.list, false, 0, 0, 0});
  const Ids ids{rows.ids, rows.first_id, 0};
  keep_best(b.list, ids, count, stream);
  finish(b.list, ids, count, nullptr, call.scores + first * call.k, call.ids + first * call.k, stream);
}

}  // namespace

Candidates carve_list(Arena& arena, Storage storage, uint64_t batch, uint32_t k) {
  Candidates list{};
  list.capacity = plan_of(storage, k).capacity;
  list.k = k;
  list.low = arena.take<float>(batch * list.capacity);
  list.high = arena.take<float>(batch * list.capacity);
  list.row = arena.take<uint32_t>(batch * list.capacity);
  list.count = arena.take<uint32_t>(batch);
  list.floor = arena.take<float>(batch);
  return list;
}

void keep_best(const Candidates& list, const Ids& ids, uint32_t count, cudaStream_t stream) {
  launch(keep_best_kernel, count, 1, kSelectThreads, 0, stream, Select{list, ids});
}

void finish(const Candidates& list, const Ids& ids, uint32_t count, const int32_t* which, float* scores,
            int64_t* out_ids, cudaStream_t stream) {
  size_t size = 1;
  while (size < list.k) size *= 2;
  launch(finish_kernel, count, 1, kSelectThreads, size * sizeof(Ranked), stream,
         Finish{{list, ids}, count, which, scores, out_ids});
}

void tighten(const Candidates& list, uint32_t count, cudaStream_t stream) {
  launch(tighten_kernel, count, 1, kSelectThreads, 0, stream, list);
}

void prepare_queries(const PrepareQueries& prepare, cudaStream_t stream) {
  if (prepare.packing == Packing::tiles) {  // columns past the last query are zero
    const Queries& q = prepare.queries;
    fill_bytes(q.packed, 0, static_cast<size_t>(q.padded) * q.units * kUnitBytes, stream);
  }
  launch(prepare_queries_kernel, divide_up(prepare.queries.count, 8u), 1, 256, 0, stream, prepare);
}

Path path_of(Storage storage, uint64_t queries, const Device& device) {
  if (storage == Storage::float32) return queries <= kStreamingF32 ? Path::streaming : Path::float32_tiles;
  if (queries <= kStreamingB) return Path::streaming;
  return device.hopper ? Path::wgmma : Path::mma;
}

Columns columns_of(Storage storage, uint64_t rows, uint32_t dim) {
  const uint64_t padded = round_to(rows, uint64_t{kTileRows});
  const uint64_t codes = storage == Storage::float32 ? 0 : tiled_bytes(rows, units_of(storage, dim), kTileRows);
  return {codes, padded, padded / kTileRows};
}

void encode(const Rows& rows, unsigned long long* bad, cudaStream_t stream) {
  const Columns columns = columns_of(rows.storage, rows.rows, rows.dim);
  const auto writable = [](const float* p) { return const_cast<float*>(p); };
  auto* codes = const_cast<uint8_t*>(rows.codes);
  if (codes != nullptr) fill_bytes(codes, 0, columns.codes, stream);
  if (rows.scale != nullptr) fill_bytes(writable(rows.scale), 0, columns.padded_rows * sizeof(float), stream);
  fill_bytes(writable(rows.residual), 0, columns.padded_rows * sizeof(float), stream);
  fill_bytes(writable(rows.norm), 0, columns.padded_rows * sizeof(float), stream);
  fill_bytes(writable(rows.tile_residual), 0, columns.tiles * sizeof(float), stream);
  fill_bytes(writable(rows.tile_norm), 0, columns.tiles * sizeof(float), stream);
  fill_bytes(writable(rows.max_norm), 0, sizeof(float), stream);
  fill_bytes(bad, 0xff, sizeof *bad, stream);
  launch(encode_rows_kernel, divide_up(rows.rows, 8u), 1, 256, 0, stream,
         EncodeRows{rows.storage, rows.rows, rows.dim, rows.stride, rows.vectors, codes, writable(rows.scale),
                    writable(rows.residual), writable(rows.norm), writable(rows.tile_residual),
                    writable(rows.tile_norm), writable(rows.max_norm), bad});
}

size_t workspace_bytes(const Rows& rows, uint64_t count, uint32_t k, const Device& device) {
  Arena arena(nullptr);
  const uint64_t batch = least(count, uint64_t{plan_of(rows.storage, k).batch});
  carve(arena, rows, batch, k, path_of(rows.storage, batch, device));
  return arena.used();
}

void search(const Rows& rows, const Call& call, const Device& device, cudaStream_t stream) {
  fill_bytes(call.bad, 0xff, sizeof *call.bad, stream);
  const uint64_t batch = plan_of(rows.storage, call.k).batch;
  for (uint64_t first = 0; first < call.count; first += batch) {
    const uint64_t count = least(batch, call.count - first);
    const Path path = path_of(rows.storage, least(batch, call.count), device);  // the last batch goes as the others
    Arena arena(call.workspace);
    search_batch(rows, call, first, carve(arena, rows, count, call.k, path), path, device, stream);
  }
}

void search_exactly(const Rows& rows, const Call& call, const int32_t* which, uint64_t count, cudaStream_t stream) {
  const uint64_t batch = plan_of(rows.storage, call.k).batch;
  for (uint64_t first = 0; call.k != 0 && first < count; first += batch) {
    const auto now = static_cast<uint32_t>(least(batch, count - first));
    Arena arena(call.workspace);
    const Candidates list = carve_list(arena, rows.storage, now, call.k);
    const Ids ids{rows.ids, rows.first_id, 0};
    best_of_all(list, ids, now, rows.rows, stream, [&](uint32_t row, uint32_t taken, uint32_t kept) {
      launch(exact_kernel, divide_up(taken, 128u), now, 128, 0, stream,
             Exact{rows, call.queries, which + first, list, true, row, taken, kept});
    });
    finish(list, ids, now, which + first, call.scores, call.ids, stream);
  }
}

size_t merge_bytes(uint64_t count, uint32_t k) {
  Arena arena(nullptr);
  carve_list(arena, Storage::float32, least(count, uint64_t{plan_of(Storage::float32, k).batch}), k);
  return arena.used();
}

void merge(const float* scores, const int64_t* ids, uint64_t width, const Call& call, cudaStream_t stream) {
  const uint64_t batch = plan_of(Storage::float32, call.k).batch;
  for (uint64_t first = 0; first < call.count; first += batch) {
    const auto now = static_cast<uint32_t>(least(batch, call.count - first));
    Arena arena(call.workspace);
    Candidates list = carve_list(arena, Storage::float32, now, call.k);
    list.overflow = reinterpret_cast<int32_t*>(list.floor);  // never written: there is room
    fill_bytes(list.count, 0, now * sizeof(uint32_t), stream);
    const Ids own{ids + first * width, 0, width};
    const uint64_t room = list.capacity - call.k;
    for (uint64_t column = 0; column < width; column += room) {
      const uint64_t last = least(width, column + room);
      launch(load_parts_kernel, static_cast<uint32_t>(divide_up(last - column, uint64_t{256})), now, 256, 0, stream,
             LoadParts{scores + first * width, ids + first * width, width, column, last, list});
      keep_best(list, own, now, stream);
    }
    finish(list, own, now, nullptr, call.scores + first * call.k, call.ids + first * call.k, stream);
  }
}

}  // namespace jmlr::cuda
