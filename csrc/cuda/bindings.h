// What both halves of the GPU module's door use: addresses of device memory in, nothing owned. jmlr.topk.cuda and
// jmlr.topk.cuda_maxsim check what goes in and allocate.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "cuda/on_device.h"

namespace py = pybind11;
using namespace jmlr::cuda;

using Address = uintptr_t;

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}
inline cudaStream_t stream_at(Address address) { return at<CUstream_st>(address); }

inline jmlr::Storage storage_of(const std::string& name) {
  if (name == "float32") return jmlr::Storage::float32;
  if (name == "bfloat16") return jmlr::Storage::bfloat16;
  if (name == "int8") return jmlr::Storage::int8;
  throw std::invalid_argument("storage='" + name + "'; allowed: float32, bfloat16, int8");
}

// An index whose columns, addresses of device memory, the caller keeps alive.
class DeviceRows {
 public:
  DeviceRows(int device, const std::string& storage, uint32_t rows, uint32_t dim, const py::dict& columns,
             int64_t first_id)
      : ordinal_(device) {
    const auto column = [&](const char* name) { return columns.contains(name) ? columns[name].cast<Address>() : 0; };
    rows_ = {storage_of(storage),
             rows,
             dim,
             vector_stride(dim),
             at<float>(column("vectors")),
             at<uint8_t>(column("codes")),
             at<float>(column("scale")),
             at<float>(column("residual")),
             at<float>(column("norm")),
             at<float>(column("tile_residual")),
             at<float>(column("tile_norm")),
             at<float>(column("max_norm")),
             at<int64_t>(column("ids")),
             first_id};
  }
  void encode(Address bad, Address stream) const {
    const OnDevice on(ordinal_);
    jmlr::cuda::encode(rows_, at<unsigned long long>(bad), stream_at(stream));
  }
  size_t workspace_bytes(uint64_t count, uint32_t k) const {
    const OnDevice on(ordinal_);
    return jmlr::cuda::workspace_bytes(rows_, count, k, on.device());
  }
  void search(Address queries, uint64_t count, uint32_t k, Address scores, Address ids, Address overflow, Address bad,
              Address workspace, Address stream) const {
    const OnDevice on(ordinal_);
    jmlr::cuda::search(rows_, call(queries, count, k, scores, ids, overflow, bad, workspace), on.device(),
                       stream_at(stream));
  }
  void search_exactly(Address queries, Address which, uint64_t count, uint32_t k, Address scores, Address ids,
                      Address workspace, Address stream) const {
    const OnDevice on(ordinal_);
    jmlr::cuda::search_exactly(rows_, call(queries, count, k, scores, ids, 0, 0, workspace), at<int32_t>(which), count,
                               stream_at(stream));
  }
  static Call call(Address queries, uint64_t count, uint32_t k, Address scores, Address ids, Address overflow,
                   Address bad, Address workspace) {
    return {at<float>(queries),
            count,
            k,
            at<float>(scores),
            at<int64_t>(ids),
            at<int32_t>(overflow),
            at<unsigned long long>(bad),
            at<void>(workspace)};
  }

  int ordinal() const { return ordinal_; }
  const Rows& rows() const { return rows_; }

 private:
  int ordinal_;
  Rows rows_{};
};

void bind_passages(py::module_& module);  // bindings_maxsim.cpp
