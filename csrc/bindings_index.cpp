// An index for Python; see bindings.cpp.
#include <algorithm>
#include <vector>

#include "bindings.h"
#include "floating_point.h"

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

  py::tuple search(const Floats& queries, size_t k, size_t threads, const std::string& isa,
                   const RowSelection* selection, bool largest) const {
    const size_t count = check_queries(queries);
    const Told told{threads, isa, RowSelection::view(selection, view_.rows, count), largest};
    return run_search(count, k, told, [&](const jmlr::SearchOptions& options, float* scores, int64_t* ids) {
      return jmlr::search(view_, queries.data(), count, k, options, scores, ids);
    });
  }

  py::tuple range_search(const Floats& queries, const Floats& thresholds, size_t threads, const std::string& isa,
                         const RowSelection* selection, bool largest) const {
    const size_t count = check_queries(queries);
    require(static_cast<size_t>(thresholds.size()) == count, "thresholds must be [B]");
    const Told told{threads, isa, RowSelection::view(selection, view_.rows, count), largest};
    std::vector<jmlr::Matches> found(count);
    jmlr::SearchOptions options = told.options();
    jmlr::SearchCounts counts;
    without_lock([&](const std::function<bool()>& poll) {
      options.interrupted = poll;
      counts = jmlr::range_search(view_, queries.data(), count, thresholds.data(), options, found.data());
    });
    Ids offsets(count + 1);
    offsets.mutable_at(0) = 0;
    for (size_t q = 0; q < count; ++q) {
      offsets.mutable_at(q + 1) = offsets.at(q) + static_cast<int64_t>(found[q].ids.size());
    }
    Floats scores(static_cast<size_t>(offsets.at(count)));
    Ids ids(static_cast<size_t>(offsets.at(count)));
    for (size_t q = 0; q < count; ++q) {
      std::copy(found[q].scores.begin(), found[q].scores.end(), scores.mutable_data() + offsets.at(q));
      std::copy(found[q].ids.begin(), found[q].ids.end(), ids.mutable_data() + offsets.at(q));
      found[q] = {};
    }
    return py::make_tuple(scores, ids, offsets, counts.nominated, counts.rescored);
  }

 private:
  size_t check_queries(const Floats& queries) const {
    require(queries.ndim() == 2 && static_cast<size_t>(queries.shape(1)) == view_.dim, "queries must be [B, D]");
    return static_cast<size_t>(queries.shape(0));
  }

  Floats vectors_;
  std::optional<Bytes> codes_;
  std::optional<Floats> scale_, residual_;
  Floats norm_;
  std::optional<Ids> ids_;
  jmlr::Copies copies_;  // what searches learn of the index
  jmlr::IndexView view_{};
};

}  // namespace

void bind_index(py::module_& module) {
  py::class_<Scanner>(module, "Scanner")
      .def(py::init<const std::string&, Floats, std::optional<Bytes>, std::optional<Floats>, std::optional<Floats>,
                    Floats, std::optional<Ids>, std::optional<double>>(),
           py::arg("storage"), py::arg("vectors").noconvert(), py::arg("codes").noconvert(),
           py::arg("scale").noconvert(), py::arg("residual").noconvert(), py::arg("norm").noconvert(),
           py::arg("ids").noconvert(), py::arg("max_norm"))
      .def("search", &Scanner::search, py::arg("queries").noconvert(), py::arg("k"), py::arg("threads"), py::arg("isa"),
           py::arg("selection") = py::none(), py::arg("largest") = true,
           "Return (scores [B, k], ids [B, k], pairs nominated, pairs rescored).")
      .def("range_search", &Scanner::range_search, py::arg("queries").noconvert(), py::arg("thresholds").noconvert(),
           py::arg("threads"), py::arg("isa"), py::arg("selection"), py::arg("largest"),
           "Return (scores [M], ids [M], offsets [B + 1], pairs nominated, pairs rescored).");
}
