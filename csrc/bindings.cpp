// Top-k for Python: arrays in, arrays out, errors turned into Python's, the GIL released in between.
#include "bindings.h"

#include <algorithm>

#include "checksum.h"
#include "floating_point.h"

namespace {

// How many of `threads` a matrix is worth: a few MiB for each.
size_t threads_for(const Floats& rows, size_t threads) {
  return std::clamp(static_cast<size_t>(rows.size()) >> 20, size_t{1}, std::max(threads, size_t{1}));
}

// For a `with` statement around what NumPy computes.
class PythonEnvironment {
 public:
  void enter() { held_.emplace(); }
  void exit(const py::args&) { held_.reset(); }

 private:
  std::optional<jmlr::DefaultFloatingPoint> held_;
};

// Bytes [rows, stride], without values, from the beginning of a cache line on: a load that straddles two lines takes
// twice as long, and NumPy keeps to 16 bytes. Who makes them read-only, as an index does, makes them so for good.
Bytes on_line(size_t rows, size_t stride) {
  constexpr size_t kLine = 64;
  Bytes room(rows * stride + kLine - 1);
  uint8_t* const first = room.mutable_data();
  const size_t before = (kLine - reinterpret_cast<uintptr_t>(first) % kLine) % kLine;
  Bytes bytes({rows, stride}, first + before, room);
  room.attr("setflags")(false);
  return bytes;
}

// Codes and bounds of finite rows: (codes or None, scale or None, residual or None, norm).
py::tuple encode(const std::string& name, const Floats& vectors, size_t threads) {
  const jmlr::Storage storage = storage_of(name);
  require(vectors.ndim() == 2, "vectors must be [N, D]");
  const auto rows = static_cast<size_t>(vectors.shape(0));
  const auto dim = static_cast<size_t>(vectors.shape(1));
  const bool coded = storage != jmlr::Storage::float32;
  Bytes codes = on_line(coded ? rows : 0, jmlr::code_stride(storage, dim));
  Floats scale(storage == jmlr::Storage::int8 ? rows : 0), residual(coded ? rows : 0), norm(rows);
  uint8_t* out = codes.mutable_data();
  float* bounds[] = {scale.mutable_data(), residual.mutable_data(), norm.mutable_data()};
  const float* in = vectors.data();
  without_lock([&](const std::function<bool()>& poll) {
    jmlr::Team team(threads_for(vectors, threads), poll);
    jmlr::encode_rows(storage, in, rows, dim, out, bounds[0], bounds[1], bounds[2], team);
  });
  const auto optional = [](bool there, const py::object& array) { return there ? array : py::object(py::none()); };
  return py::make_tuple(optional(coded, codes), optional(storage == jmlr::Storage::int8, scale),
                        optional(coded, residual), norm);
}

void normalise(Floats rows, size_t threads) {
  require(rows.ndim() == 2, "rows must be [N, D]");
  const auto count = static_cast<size_t>(rows.shape(0));
  const auto dim = static_cast<size_t>(rows.shape(1));
  float* values = rows.mutable_data();
  without_lock([&](const std::function<bool()>& poll) {
    jmlr::Team team(threads_for(rows, threads), poll);
    jmlr::normalise_rows(values, count, dim, team);
  });
}

std::optional<std::pair<size_t, size_t>> first_nonfinite(const Floats& matrix, size_t threads) {
  require(matrix.ndim() == 2, "rows must be [N, D]");
  const auto rows = static_cast<size_t>(matrix.shape(0));
  const auto dim = static_cast<size_t>(matrix.shape(1));
  const float* in = matrix.data();
  std::optional<std::pair<size_t, size_t>> found;
  without_lock([&](const std::function<bool()>& poll) {
    jmlr::Team team(threads_for(matrix, threads), poll);
    found = jmlr::first_nonfinite(in, rows, dim, team);
  });
  return found;
}

std::vector<std::string> kernel_names(const std::string& isa) {
  const jmlr::Kernels chosen = jmlr::select_kernels(isa);
  return {chosen.scan[0].isa, chosen.scan[1].isa, chosen.scan[2].isa};
}

}  // namespace

PYBIND11_MODULE(_topk, module) {
  module.doc() = "Exact inner-product top-k; use jmlr.topk, which checks what goes in.";
  module.def("on_line", &on_line, py::arg("rows"), py::arg("stride"));
  module.def("encode", &encode, py::arg("storage"), py::arg("vectors").noconvert(), py::arg("threads"));
  module.def("first_nonfinite", &first_nonfinite, py::arg("rows").noconvert(), py::arg("threads"),
             "Return the first (row, column) that is NaN or infinite, or None.");
  module.def("normalise", &normalise, py::arg("rows").noconvert(), py::arg("threads"),
             "Divide each row by its norm, in place; rows of zeros stay.");
  py::class_<PythonEnvironment>(module, "DefaultFloatingPoint",
                                "with DefaultFloatingPoint(): nothing on this thread is flushed to zero.")
      .def(py::init<>())
      .def("__enter__", &PythonEnvironment::enter)
      .def("__exit__", &PythonEnvironment::exit);
  module.def(
      "checksum",
      [](const Bytes& bytes) {
        uint64_t sum;
        without_lock([&](const auto&) { sum = jmlr::checksum(bytes.data(), static_cast<size_t>(bytes.size())); });
        return sum;
      },
      py::arg("bytes").noconvert(), "Return the 64-bit checksum of an array of bytes.");
  bind_index(module);
  bind_maxsim(module);
  bind_selection(module);
  module.def("available_isas", &jmlr::available_isas);
  module.def("kernel_names", &kernel_names, py::arg("isa"), "Return what scans float32, bfloat16 and int8.");
}
