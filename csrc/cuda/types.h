// What the kernels are given. Pointers are to device memory; all counts fit 32 bits, all offsets are 64.
#pragma once

#include "cuda/layout.h"

namespace jmlr::cuda {

// An index on the device. Rows past the end of a tile have zero codes.
struct Rows {
  Storage storage;
  uint32_t rows, dim;
  uint32_t stride;             // floats from row to row of `vectors`, a multiple of 4
  const float* vectors;        // [rows, stride], zero past dim: the originals, which decide
  const uint8_t* codes;        // tiles of kTileRows rows; null for float32
  const float* scale;          // [tiles * kTileRows] for int8
  const float* residual;       // [tiles * kTileRows], zero for float32
  const float* norm;           // [tiles * kTileRows]
  const float* tile_residual;  // [tiles] largest of each tile
  const float* tile_norm;      // [tiles]
  const float* max_norm;       // [1]
  const int64_t* ids;          // [rows], or null: first_id + row
  int64_t first_id;
};

// How queries are packed, hence which scan reads them.
enum class Packing : int {
  streaming = 0,  // [B][units][chunk part][8 chunks] of 16 bytes; float32 of any precision, or two int8 digits
  tiles = 1,      // tiles of codes, as rows are; int8 has two columns for each query, one for each digit
};

struct Queries {
  uint32_t count;
  const float* exact;       // [count, dim]: as given, contiguous
  uint8_t* packed;          // see Packing
  float* scale;             // int8: [count][2], of the two digits
  ErrorBound* bound;        // [count]
  uint32_t units;           // of a row's codes
  uint32_t height;          // columns in a tile of `packed`
  uint32_t padded;          // columns, a multiple of height
  unsigned long long* bad;  // [1] least flat position of a NaN or infinity, counted from the first query of the call
  uint64_t first;           // of these queries in the call
};

// For each query the rows that may still be among its k best, as intervals that certainly hold their scores.
struct Candidates {
  uint32_t capacity, k;
  float* low;         // [B, capacity]; both the score itself once it is exact
  float* high;        // [B, capacity]; NaN: no candidate, dropped by the next compaction, whatever the floor
  uint32_t* row;      // [B, capacity]
  uint32_t* count;    // [B], may exceed the capacity: then `overflow` is set
  float* floor;       // [B] what k rows are known to reach; +infinity for a query that must be scored exactly
  int32_t* overflow;  // [B of the call] not zero: the list is not complete, the answer is not certified
};

struct PrepareQueries {
  Storage storage;
  Packing packing;
  uint32_t dim;
  Queries queries;
  Candidates out;
  const float* max_norm;
  uint32_t dense_rows;  // candidates that the first phase will have put in place
};

struct Scan {
  Rows rows;
  Queries queries;
  Candidates out;
  Order order;
  Phase phase;
};

// Ids of candidates: of an index, or of results to be merged, where each query has its own.
struct Ids {
  const int64_t* ids;
  int64_t first;
  uint64_t stride;  // from query to query
  JMLR_HD int64_t of(uint32_t query, uint32_t row) const {
    return ids != nullptr ? ids[query * stride + row] : first + row;
  }
};

}  // namespace jmlr::cuda
