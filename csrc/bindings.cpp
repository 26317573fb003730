// Top-k for Python: arrays in, arrays out, errors turned into Python's, the GIL released in between.
#include "bindings.h"

#include <algorithm>

#include "checksum.h"
#include "floating_point.h"
#include "topk.h"

namespace {

// Keeps the arrays alive that the view points into.
class Scanner {
 public:
  Scanner(const std::string& storage, Floats vectors, std::optional<Bytes> codes, std::optional<Floats> scale,
          std::optional<Floats> residual, Floats norm, std::optional<Ids> ids, std::optional<double> max_norm)
      : vectors_(std::move(vectors)),
        codes_(std::move(codes)),
        scale_(std::move(scale)),
        residual_(std::move(residual)),
        norm_(std::move(norm)),
        ids_(std::move(ids)) {
    view_.storage = storage_of(storage);
    require(vectors_.ndim() == 2, "vectors must be [N, D]");
    view_.rows = static_cast<size_t>(vectors_.shape(0));
    view_.dim = static_cast<size_t>(vectors_.shape(1));
    require(view_.dim >= 1 && view_.dim <= jmlr::kMaxDim, "D must be 1 to 65536");
    view_.vectors = vectors_.data();
    view_.codes = codes_of(codes_, view_.storage, view_.rows, view_.dim);
    view_.scale = per_row(scale_, view_.rows, view_.storage == jmlr::Storage::int8, "scale must be [N]");
    view_.residual = per_row(residual_, view_.rows, view_.storage != jmlr::Storage::float32, "residual must be [N]");
    view_.norm = per_row(std::optional(norm_), view_.rows, true, "norm must be [N]");
    require(!ids_ || (ids_->ndim() == 1 && static_cast<size_t>(ids_->shape(0)) == view_.rows), "ids must be [N]");
    view_.ids = ids_ ? ids_->data() : nullptr;
    view_.copies = &copies_;
    const jmlr::DefaultFloatingPoint environment;
    view_.max_norm = max_norm ? static_cast<float>(*max_norm) : jmlr::max_of(view_.norm, view_.rows);
  }

  py::tuple search(const Floats& queries, size_t k, size_t threads, const std::string& isa) const {
    require(queries.ndim() == 2 && static_cast<size_t>(queries.shape(1)) == view_.dim, "queries must be [B, D]");
    const auto count = static_cast<size_t>(queries.shape(0));
    return run_search(count, k, threads, isa, [&](const jmlr::SearchOptions& options, float* scores, int64_t* ids) {
      return jmlr::search(view_, queries.data(), count, k, options, scores, ids);
    });
  }

 private:
  Floats vectors_;
  std::optional<Bytes> codes_;
  std::optional<Floats> scale_, residual_;
  Floats norm_;
  std::optional<Ids> ids_;
  jmlr::Copies copies_;  // what searches learn of the index
  jmlr::IndexView view_{};
};

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

// Codes and bounds of finite rows: (codes or None, scale or None, residual or None, norm).
py::tuple encode(const std::string& name, const Floats& vectors, size_t threads) {
  const jmlr::Storage storage = storage_of(name);
  require(vectors.ndim() == 2, "vectors must be [N, D]");
  const auto rows = static_cast<size_t>(vectors.shape(0));
  const auto dim = static_cast<size_t>(vectors.shape(1));
  const bool coded = storage != jmlr::Storage::float32;
  Bytes codes({coded ? rows : 0, jmlr::code_stride(storage, dim)});
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
  py::class_<Scanner>(module, "Scanner")
      .def(py::init<const std::string&, Floats, std::optional<Bytes>, std::optional<Floats>, std::optional<Floats>,
                    Floats, std::optional<Ids>, std::optional<double>>(),
           py::arg("storage"), py::arg("vectors").noconvert(), py::arg("codes").noconvert(),
           py::arg("scale").noconvert(), py::arg("residual").noconvert(), py::arg("norm").noconvert(),
           py::arg("ids").noconvert(), py::arg("max_norm"))
      .def("search", &Scanner::search, py::arg("queries").noconvert(), py::arg("k"), py::arg("threads"), py::arg("isa"),
           "Return (scores [B, k], ids [B, k], pairs nominated, pairs rescored).");
  module.def("encode", &encode, py::arg("storage"), py::arg("vectors").noconvert(), py::arg("threads"));
  module.def("first_nonfinite", &first_nonfinite, py::arg("rows").noconvert(), py::arg("threads"),
             "Return the first (row, column) that is NaN or infinite, or None.");
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
  bind_maxsim(module);
  module.def("available_isas", &jmlr::available_isas);
  module.def("kernel_names", &kernel_names, py::arg("isa"), "Return what scans float32, bfloat16 and int8.");
}
