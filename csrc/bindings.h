// What the files that know Python share.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "topk.h"

namespace py = pybind11;

using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Ids = py::array_t<int64_t, py::array::c_style>;

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

inline jmlr::Storage storage_of(const std::string& name) {
  if (name == "float32") return jmlr::Storage::float32;
  if (name == "bfloat16") return jmlr::Storage::bfloat16;
  if (name == "int8") return jmlr::Storage::int8;
  throw std::invalid_argument("storage='" + name + "'; allowed: float32, bfloat16, int8");
}

// The values if they are needed, one for every row, else null.
template <typename T>
const T* per_row(const std::optional<py::array_t<T, py::array::c_style>>& values, size_t rows, bool needed,
                 const char* what) {
  if (!needed) return nullptr;
  require(values.has_value() && values->ndim() == 1 && static_cast<size_t>(values->shape(0)) == rows, what);
  return values->data();
}

// The codes if the storage has any, [rows, code_stride], else null.
inline const uint8_t* codes_of(const std::optional<Bytes>& codes, jmlr::Storage storage, size_t rows, size_t dim) {
  const size_t stride = jmlr::code_stride(storage, dim);
  if (stride == 0) return nullptr;
  require(codes && codes->ndim() == 2 && static_cast<size_t>(codes->shape(0)) == rows &&
              static_cast<size_t>(codes->shape(1)) == stride,
          "codes must be [N, code_stride]");
  return codes->data();
}

// Masks of rows for some queries; keeps the arrays alive that the view points into.
class RowSelection {
 public:
  RowSelection(size_t rows, size_t queries, std::optional<Bytes> shared, std::optional<Bytes> by_query,
               std::optional<Ids> listed, std::optional<Ids> starts, bool only_listed);
  // The view, for a search of so many rows and queries; of none, all rows.
  static jmlr::Selection view(const RowSelection* selection, size_t rows, size_t queries) {
    if (selection == nullptr) return {};
    require(selection->view_.rows == rows && selection->queries_ == queries,
            "a selection for another number of rows or queries");
    return selection->view_;
  }

 private:
  size_t queries_;
  std::optional<Bytes> shared_, by_query_;
  std::optional<Ids> listed_, starts_;
  jmlr::Selection view_;
};

// True once Python has a signal to handle, e.g. Ctrl-C; the search then throws Interrupted.
inline bool signalled() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

// What is asked on the caller's thread while it computes. Python handles signals on its main thread alone; another must
// not ask for the interpreter's lock in the middle of a search, for an interpreter that is ending would end the thread.
inline std::function<bool()> interruption() {
  const py::module_ threading = py::module_::import("threading");
  if (!threading.attr("get_ident")().equal(threading.attr("main_thread")().attr("ident"))) return {};
  return signalled;
}

// Takes the interpreter's lock back. A daemon thread that outlives the interpreter stays here for good, as it does by
// itself from Python 3.14 on; before, Python ends the thread, which would unwind frames that hold Python's objects.
inline void take_lock(PyThreadState* state) {
  try {
    PyEval_RestoreThread(state);
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

// Runs work(poll) without the interpreter's lock.
template <typename Work>
void without_lock(const Work& work) {
  const std::function<bool()> poll = interruption();
  std::exception_ptr error;
  PyThreadState* const state = PyEval_SaveThread();
  try {
    work(poll);
  } catch (...) {
    error = std::current_exception();
  }
  take_lock(state);
  try {
    if (error) std::rethrow_exception(error);
  } catch (const jmlr::Interrupted&) {
    throw py::error_already_set();
  }
}

// What a search is told beside the queries.
struct Told {
  size_t threads;
  std::string isa;
  jmlr::Selection selection;
  bool largest = true;
  jmlr::SearchOptions options() const { return {threads, jmlr::select_kernels(isa), {}, selection, largest}; }
};

// Runs search(options, scores [count, k], ids [count, k]) without the interpreter's lock; the tuple that Python gets.
template <typename Search>
py::tuple run_search(size_t count, size_t k, const Told& told, const Search& search) {
  py::array_t<float> scores({count, k});
  py::array_t<int64_t> ids({count, k});
  float* out_scores = scores.mutable_data();
  int64_t* out_ids = ids.mutable_data();
  jmlr::SearchOptions options = told.options();
  jmlr::SearchCounts counts;
  without_lock([&](const std::function<bool()>& poll) {
    options.interrupted = poll;
    counts = search(options, out_scores, out_ids);
  });
  return py::make_tuple(scores, ids, counts.nominated, counts.rescored);
}

void bind_index(py::module_& module);
void bind_maxsim(py::module_& module);
void bind_selection(py::module_& module);
