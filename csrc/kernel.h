// What a kernel is: one function type for every instruction set and every storage.
//
// A scan multiplies a block of rows with a panel of queries. Both are read in units of 32 bits (one float32, two
// bfloat16, or four int8), so the same loop, "broadcast a unit of a row, multiply-add it to the panel", serves all
// three. Scans only nominate: their scores carry an error that encode.h and panel_bounds.h bound. `rescore` is the one
// that decides.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jmlr {

enum class Storage : int { float32 = 0, bfloat16 = 1, int8 = 2 };

struct RowBlock {
  const void* codes;   // row r starts `r * stride` bytes after
  size_t stride;       // bytes from row to row
  size_t count;        // rows
  const float* scale;  // int8 only: [count]
  // What is scanned next: a kernel faster than memory fetches it into the cache meanwhile; others see to it themselves.
  const char* ahead = nullptr;
  size_t ahead_bytes = 0;
};

// `width` queries, interleaved: unit u of query j is units[u * width + j], as 32 bits; in a narrow panel two units of a
// query stand side by side, units[u / 2 * 2 * width + 2 * j + u % 2], and a row is read by pairs of units.
struct QueryPanel {
  const void* units;
  size_t unit_count;      // units of a row that count; a row holds at least as many
  size_t width;           // 1 (the streaming path), half the kernel's lanes (narrow), its lanes, or 2 x lanes
  const float* scale;     // int8 only: [width]
  const int32_t* offset;  // int8 only: [width] 128 * sum of the query's codes (row codes are biased by 128)
  // The streaming path has arithmetic to spare, so its one query is finer than the panel's.
  const float* exact;  // bfloat16, width 1: the query in float32, [2 * unit_count]
  const void* low;     // int8, width 1: second digit of the query's codes
  float low_scale;     // int8, width 1: scale of the second digit
  int32_t low_offset;  // int8, width 1: 128 * sum of the second digits
};

constexpr size_t kMaxWidth = 128;  // of a panel: more than any kernel has

// scores[r * width + j] = approximate inner product of row r and query j.
using ScanFn = void (*)(const QueryPanel&, const RowBlock&, float* scores);

// Which pairs (i, j) may still enter: score + a[i] * u[j] + b[i] * v[j] >= floor_i[i] and >= floor_j[j] (null: no
// floor). The lanes run over j; i is broadcast. Tiles have i = row, j = query; the streaming path i = query, j = row.
struct FilterTerms {
  const float* scores;  // [ni, nj]
  size_t ni, nj;
  const float* a;        // [ni]
  const float* b;        // [ni]
  const float* u;        // [nj]
  const float* v;        // [nj]
  const float* floor_i;  // [ni] or null
  const float* floor_j;  // [nj] or null
};
struct Hit {
  uint32_t i, j;
};
// Writes at most ni * nj hits, in ascending (i, j), and returns how many.
using FilterFn = size_t (*)(const FilterTerms&, Hit* hits);

constexpr size_t kSievedRows = 384;

// Scan and filter in one, of at most kSievedRows rows and a panel no narrower than the kernel's lanes: floor_j is
// given, `terms.scores` is not. Afterwards scores[n] is that of hits[n]; both have room for all pairs.
using SieveFn = size_t (*)(const QueryPanel&, const RowBlock&, const FilterTerms&, float* scores, Hit* hits);

// A row of codes and a query with two digits, in a panel of width 1.
struct SecondDigits {
  const QueryPanel* query;
  const void* codes;
  float scale;  // of the row
};

// int8 only: scores[n] += what the second digit of query n adds to its score with row n.
using AddSecondFn = void (*)(const SecondDigits* pairs, size_t count, float* scores);

// out[n] = the contract's score of (query, rows[n]): float64, in index order, rounded once. NaN-free inputs.
using RescoreFn = void (*)(const float* query, const float* const* rows, size_t count, size_t dim, float* out);

// best[t] = max(best[t], the contract's float64 inner product of token t and row n) over the rows [count, dim], before
// any rounding. A query's tokens come as float64, interleaved: value d of token t is tokens[d * width + t]; `width` is
// a multiple of 8, `tokens` lies on a cache line. The sign of a zero is left open: sums that start from +0 never show
// it.
using MaxDotsFn = void (*)(const double* tokens, size_t width, const float* rows, size_t count, size_t dim,
                           double* best);

// peaks[j] = max(peaks[j], scores[r * width + j]) over the rows of a panel's tile; a NaN among the scores is passed
// over.
using RaiseFn = void (*)(const float* scores, size_t rows, size_t width, float* peaks);

// out = 2^100 * rows [count], exactly; their absolute values are less than 2^-60. No slower for subnormal numbers.
using LiftFn = void (*)(const float* rows, size_t count, float* out);

struct Kernel {
  const char* isa = nullptr;
  size_t lanes = 0;  // queries per vector
  ScanFn scan = nullptr;
  bool narrow = false;               // takes narrow panels too
  SieveFn sieve = nullptr;           // where there is a unit for matrices: products are cheap beside all else
  AddSecondFn add_second = nullptr;  // where it is faster than a scan of the row with both digits
};

struct Kernels {
  Kernel scan[3];  // by Storage
  FilterFn filter;
  RescoreFn rescore;
  MaxDotsFn max_dots;
  RaiseFn raise;
  LiftFn lift;
};

// One per file of kernels/; null where the instruction set was not compiled in.
namespace scalar {
Kernels kernels();
}
namespace avx2 {
Kernels kernels();
}
namespace avx512 {
Kernels kernels();
}
namespace avx512bf16 {
Kernel bfloat16_kernel();
}
namespace avx512vnni {
Kernel int8_kernel();
}
namespace avx512amx {
Kernel bfloat16_kernel();  // no scan where the compiler knows no tiles
Kernel int8_kernel();
}  // namespace avx512amx
namespace neon {
Kernels kernels();
}

}  // namespace jmlr
