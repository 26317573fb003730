// What the files that know Python share.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

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

// True once Python has a signal to handle, e.g. Ctrl-C; the search then throws Interrupted.
inline bool signalled() {
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

// Runs work(team) without the interpreter's lock.
template <typename Work>
void run_released(size_t threads, const Work& work) {
  try {
    const py::gil_scoped_release release;
    jmlr::Team team(threads, signalled);
    work(team);
  } catch (const jmlr::Interrupted&) {
    throw py::error_already_set();
  }
}

// Runs search(options, scores [count, k], ids [count, k]) without the interpreter's lock; the tuple that Python gets.
template <typename Search>
py::tuple run_search(size_t count, size_t k, size_t threads, const std::string& isa, const Search& search) {
  py::array_t<float> scores({count, k});
  py::array_t<int64_t> ids({count, k});
  const jmlr::SearchOptions options{threads, jmlr::select_kernels(isa), signalled};
  jmlr::SearchCounts counts;
  try {
    float* out_scores = scores.mutable_data();
    int64_t* out_ids = ids.mutable_data();
    const py::gil_scoped_release release;
    counts = search(options, out_scores, out_ids);
  } catch (const jmlr::Interrupted&) {
    throw py::error_already_set();
  }
  return py::make_tuple(scores, ids, counts.nominated, counts.rescored);
}

void bind_maxsim(py::module_& module);
