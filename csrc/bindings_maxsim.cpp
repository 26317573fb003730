// MaxSim for Python; see bindings.cpp.
#include "bindings.h"
#include "maxsim.h"

namespace {

// Keeps the arrays alive that the view points into.
class MaxSimScanner {
 public:
  MaxSimScanner(const std::string& storage, size_t dim, std::optional<Floats> vectors, std::optional<Bytes> codes,
                std::optional<Floats> scale, std::optional<Floats> residual, std::optional<Floats> norm, Ids offsets,
                std::optional<Ids> ids)
      : vectors_(std::move(vectors)),
        codes_(std::move(codes)),
        scale_(std::move(scale)),
        residual_(std::move(residual)),
        norm_(std::move(norm)),
        offsets_(std::move(offsets)),
        ids_(std::move(ids)) {
    view_.storage = storage_of(storage);
    view_.dim = dim;
    require(view_.dim >= 1 && view_.dim <= jmlr::kMaxDim, "D must be 1 to 65536");
    require(vectors_ || (codes_ && view_.storage == jmlr::Storage::int8), "without tokens it must be int8 with codes");
    require(!vectors_ || (vectors_->ndim() == 2 && static_cast<size_t>(vectors_->shape(1)) == dim),
            "tokens must be [M, D]");
    const auto rows = static_cast<size_t>(vectors_ ? vectors_->shape(0) : codes_->shape(0));
    view_.vectors = vectors_ ? vectors_->data() : nullptr;
    view_.offsets = offsets_.data();
    view_.passages = check_offsets(offsets_, rows);
    view_.codes = codes_of(codes_, view_.storage, rows, view_.dim);
    view_.scale = per_row(scale_, rows, view_.storage == jmlr::Storage::int8, "scale must be [M]");
    view_.residual =
        per_row(residual_, view_.passages, view_.storage != jmlr::Storage::float32, "residual must be [N]");
    view_.norm = per_row(norm_, view_.passages, true, "norm must be [N]");
    view_.ids = per_row(ids_, view_.passages, ids_.has_value(), "ids must be [N]");
    view_.copies = &copies_;
  }

  py::tuple search(const Floats& tokens, const Ids& starts, size_t k, size_t threads, const std::string& isa,
                   const RowSelection* selection) const {
    require(tokens.ndim() == 2 && static_cast<size_t>(tokens.shape(1)) == view_.dim, "query tokens must be [T, D]");
    const size_t count = check_offsets(starts, static_cast<size_t>(tokens.shape(0)));
    for (size_t q = 0; q < count; ++q) {
      require(starts.at(q + 1) - starts.at(q) <= static_cast<int64_t>(jmlr::kMaxTokens), "a query has 65536 tokens");
    }
    const Told told{threads, isa, RowSelection::view(selection, view_.passages, count)};
    return run_search(count, k, told, [&](const jmlr::SearchOptions& options, float* scores, int64_t* ids) {
      return jmlr::maxsim_search(view_, tokens.data(), starts.data(), count, k, options, scores, ids);
    });
  }

 private:
  // How many ranges there are: they must be one after another from 0 to `rows`, none empty.
  static size_t check_offsets(const Ids& offsets, size_t rows) {
    require(offsets.ndim() == 1 && offsets.shape(0) >= 1, "offsets must be [N + 1]");
    const auto count = static_cast<size_t>(offsets.shape(0)) - 1;
    const int64_t* at = offsets.data();
    require(at[0] == 0 && at[count] == static_cast<int64_t>(rows), "offsets must go from 0 to the number of tokens");
    for (size_t i = 0; i < count; ++i) require(at[i] < at[i + 1], "offsets must rise");
    return count;
  }

  std::optional<Floats> vectors_;
  std::optional<Bytes> codes_;
  std::optional<Floats> scale_, residual_, norm_;
  Ids offsets_;
  std::optional<Ids> ids_;
  jmlr::Copies copies_;  // what searches learn of the index
  jmlr::MaxSimView view_{};
};

}  // namespace

void bind_maxsim(py::module_& module) {
  py::class_<MaxSimScanner>(module, "MaxSimScanner")
      .def(py::init<const std::string&, size_t, std::optional<Floats>, std::optional<Bytes>, std::optional<Floats>,
                    std::optional<Floats>, std::optional<Floats>, Ids, std::optional<Ids>>(),
           py::arg("storage"), py::arg("dim"), py::arg("tokens").noconvert(), py::arg("codes").noconvert(),
           py::arg("scale").noconvert(), py::arg("residual").noconvert(), py::arg("norm").noconvert(),
           py::arg("offsets").noconvert(), py::arg("ids").noconvert())
      .def("search", &MaxSimScanner::search, py::arg("query_tokens").noconvert(), py::arg("starts").noconvert(),
           py::arg("k"), py::arg("threads"), py::arg("isa"), py::arg("selection") = py::none(),
           "Return (scores [B, k], ids [B, k], pairs nominated, pairs rescored).");
}
