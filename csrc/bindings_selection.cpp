// Masks of rows for Python; see bindings.cpp.
#include "bindings.h"

RowSelection::RowSelection(size_t rows, size_t queries, std::optional<Bytes> shared, std::optional<Bytes> by_query,
                           std::optional<Ids> listed, std::optional<Ids> starts, bool only_listed)
    : queries_(queries),
      shared_(std::move(shared)),
      by_query_(std::move(by_query)),
      listed_(std::move(listed)),
      starts_(std::move(starts)) {
  view_.rows = rows;
  view_.only_listed = only_listed;
  const size_t bytes = (rows + 7) / 8;
  if (shared_) {
    require(static_cast<size_t>(shared_->size()) == bytes, "shared must be [(N + 7) / 8]");
    view_.shared = shared_->data();
  }
  if (by_query_) {
    require(static_cast<size_t>(by_query_->size()) == bytes * queries, "by_query must be [B, (N + 7) / 8]");
    view_.by_query = by_query_->data();
  }
  require(listed_.has_value() == starts_.has_value(), "listed and starts go together");
  if (!listed_) return;
  const auto held = static_cast<int64_t>(listed_->size());
  const int64_t* at = starts_->data();
  const int64_t* row = listed_->data();
  require(static_cast<size_t>(starts_->size()) == queries + 1 && at[0] == 0 && at[queries] == held,
          "starts must be [B + 1], from 0 to the number of rows listed");
  for (size_t q = 0; q < queries; ++q) {
    require(at[q] <= at[q + 1] && at[q + 1] <= held, "starts must not fall");
    for (int64_t i = at[q]; i < at[q + 1]; ++i) {
      require(row[i] >= 0 && row[i] < static_cast<int64_t>(rows) && (i == at[q] || row[i - 1] < row[i]),
              "the rows of a query must be distinct, ascending, and of the index");
    }
  }
  view_.listed = row;
  view_.starts = at;
}

void bind_selection(py::module_& module) {
  py::class_<RowSelection>(module, "RowSelection", "Which rows each query of a search may be answered with.")
      .def(py::init<size_t, size_t, std::optional<Bytes>, std::optional<Bytes>, std::optional<Ids>, std::optional<Ids>,
                    bool>(),
           py::arg("rows"), py::arg("queries"), py::arg("shared").noconvert(), py::arg("by_query").noconvert(),
           py::arg("listed").noconvert(), py::arg("starts").noconvert(), py::arg("only_listed"));
}
