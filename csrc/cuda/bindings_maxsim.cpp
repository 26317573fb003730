// MaxSim on the GPU for Python; see bindings.h.
#include <cstring>

#include "cuda/bindings.h"
#include "cuda/maxsim.h"

namespace {

template <typename T>
py::bytes bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Passages over rows laid out by `passage_layout`, whose columns the caller keeps alive.
class DevicePassages {
 public:
  DevicePassages(const DeviceRows& rows, const py::dict& columns, uint32_t count, const std::string& chunk)
      : ordinal_(rows.ordinal()), rows_(rows.rows()), chunk_(chunk.size() / sizeof(uint32_t)) {
    std::memcpy(chunk_.data(), chunk.data(), chunk_.size() * sizeof(uint32_t));
    const auto column = [&](const char* name) { return columns.contains(name) ? columns[name].cast<Address>() : 0; };
    passages_ = {count,
                 static_cast<uint32_t>(chunk_.size()) - 1,
                 at<Range>(column("passages")),
                 at<uint32_t>(column("chunk")),
                 at<float>(column("passage_residual")),
                 at<float>(column("passage_norm")),
                 at<int64_t>(column("passage_ids"))};
  }
  void bound(Address stream) const {
    const OnDevice on(ordinal_);
    bound_passages(rows_, passages_, stream_at(stream));
  }
  uint32_t batch(uint32_t k) const { return plan_of(rows_.storage, k).batch; }
  size_t workspace_bytes(uint32_t slots, uint32_t count, uint32_t k) const {
    return maxsim_workspace_bytes(rows_, slots, count, k);
  }
  void search(const PassageCall& call, Address stream) const {
    const OnDevice on(ordinal_);
    maxsim(rows_, passages_, chunk_, call, on.device(), stream_at(stream));
  }
  void search_exactly(const PassageCall& call, Address which, uint32_t count, Address stream) const {
    const OnDevice on(ordinal_);
    maxsim_exactly(rows_, passages_, call, at<int32_t>(which), count, stream_at(stream));
  }

 private:
  int ordinal_;
  Rows rows_;
  std::vector<uint32_t> chunk_;
  Passages passages_{};
};

PassageCall call_of(Address tokens, uint32_t slot_count, Address slots, Address groups, uint32_t group_count,
                    uint32_t count, uint32_t k, Address reach, Address scores, Address ids, Address overflow,
                    Address bad, Address workspace) {
  return {at<float>(tokens),
          slot_count,
          at<Range>(slots),
          at<Group>(groups),
          group_count,
          count,
          k,
          at<float>(reach),
          at<float>(scores),
          at<int64_t>(ids),
          at<int32_t>(overflow),
          at<unsigned long long>(bad),
          at<void>(workspace)};
}

py::tuple passage_layout(Address offsets, uint64_t count) {
  const PassageLayout layout = layout_of(at<int64_t>(offsets), count);
  return py::make_tuple(bytes_of(layout.rows), bytes_of(layout.chunk), layout.padded);
}

py::tuple query_layout(Address lengths, uint64_t count, const std::string& storage) {
  const QueryLayout layout = query_layout_of(at<int64_t>(lengths), count, group_width(storage_of(storage)));
  return py::make_tuple(bytes_of(layout.slots), bytes_of(layout.groups), layout.padded);
}

}  // namespace

void bind_passages(py::module_& module) {
  py::class_<PassageCall>(module, "PassageCall")
      .def(py::init(&call_of), py::arg("tokens"), py::arg("slot_count"), py::arg("slots"), py::arg("groups"),
           py::arg("group_count"), py::arg("count"), py::arg("k"), py::arg("reach"), py::arg("scores"), py::arg("ids"),
           py::arg("overflow"), py::arg("bad"), py::arg("workspace"));
  py::class_<DevicePassages>(module, "DevicePassages")
      .def(py::init<const DeviceRows&, const py::dict&, uint32_t, const std::string&>(), py::arg("rows"),
           py::arg("columns"), py::arg("count"), py::arg("chunk"))
      .def("bound", &DevicePassages::bound, py::arg("stream"))
      .def("batch", &DevicePassages::batch, py::arg("k"), "Return how many queries to search at a time at most.")
      .def("workspace_bytes", &DevicePassages::workspace_bytes, py::arg("slots"), py::arg("count"), py::arg("k"))
      .def("search", &DevicePassages::search, py::arg("call"), py::arg("stream"))
      .def("search_exactly", &DevicePassages::search_exactly, py::arg("call"), py::arg("which"), py::arg("count"),
           py::arg("stream"));
  module.def("passage_layout", &passage_layout, py::arg("offsets"), py::arg("count"),
             "Return (uint32 [N, 2] rows of the passages, uint32 [chunks + 1], rows in all) of offsets on the host.");
  module.def("query_layout", &query_layout, py::arg("lengths"), py::arg("count"), py::arg("storage"),
             "Return (uint32 [B, 2] slots of the queries, uint32 [groups, 4], slots in all) of lengths on the host.");
}
