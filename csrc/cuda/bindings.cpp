// The GPU module's door; see bindings.h.
#include "cuda/bindings.h"

namespace {

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
  bind_passages(module);
}
