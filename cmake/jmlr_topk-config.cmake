# What `find_package(jmlr_topk)` reads: the static library jmlr::topk and its headers, #include <jmlr/topk.h>.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/jmlr_topk-targets.cmake")
