// The GPU module's door: addresses of device memory in, nothing owned. jmlr.topk.cuda checks what goes in and
// allocates.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "cuda/on_device.h"

namespace py = pybind11;
using namespace jmlr::cuda;

namespace {

using Address = uintptr_t;

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}
cudaStream_t stream_at(Address address) { return at<CUstream_st>(address); }

jmlr::Storage storage_of(const std::string& name) {
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

 private:
  int ordinal_;
  Rows rows_{};
};

void merge_parts(int device, Address scores, Address ids, uint64_t count, uint64_t width, uint32_t k,
                 Address out_scores, Address out_ids, Address workspace, Address stream) {
  const OnDevice on(device);
  merge(at<float>(scores), at<int64_t>(ids), width, DeviceRows::call(0, count, k, out_scores, out_ids, 0, 0, workspace),
        stream_at(stream));
}

py::object why_not() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) return py::str(cudaGetErrorString(status));
  return devices == 0 ? py::object(py::str("no CUDA device")) : py::object(py::none());
}

py::tuple sizes_of(const std::string& storage, uint64_t rows, uint32_t dim) {
  const Columns sizes = columns_of(storage_of(storage), rows, dim);
  return py::make_tuple(sizes.codes, sizes.padded_rows, sizes.tiles);
}

}  // namespace

PYBIND11_MODULE(_topk_cuda, module) {
  module.doc() = "Exact inner-product top-k on the GPU; use jmlr.topk, which checks what goes in.";
  module.attr("MAX_K") = kMaxK;
  module.def("why_not", &why_not, "Return why no GPU can be used, or None.");
  py::class_<DeviceRows>(module, "DeviceRows")
      .def(py::init<int, const std::string&, uint32_t, uint32_t, const py::dict&, int64_t>(), py::arg("device"),
           py::arg("storage"), py::arg("rows"), py::arg("dim"), py::arg("columns"), py::arg("first_id"))
      .def("encode", &DeviceRows::encode, py::arg("bad"), py::arg("stream"))
      .def("workspace_bytes", &DeviceRows::workspace_bytes, py::arg("count"), py::arg("k"))
      .def("search", &DeviceRows::search, py::arg("queries"), py::arg("count"), py::arg("k"), py::arg("scores"),
           py::arg("ids"), py::arg("overflow"), py::arg("bad"), py::arg("workspace"), py::arg("stream"))
      .def("search_exactly", &DeviceRows::search_exactly, py::arg("queries"), py::arg("which"), py::arg("count"),
           py::arg("k"), py::arg("scores"), py::arg("ids"), py::arg("workspace"), py::arg("stream"));
  module.def("sizes", &sizes_of, py::arg("storage"), py::arg("rows"), py::arg("dim"),
             "Return (bytes of codes, rows with padding, tiles).");
  module.def("merge_bytes", &merge_bytes, py::arg("count"), py::arg("k"));
  module.def("merge", &merge_parts, py::arg("device"), py::arg("scores"), py::arg("ids"), py::arg("count"),
             py::arg("width"), py::arg("k"), py::arg("out_scores"), py::arg("out_ids"), py::arg("workspace"),
             py::arg("stream"));
}
