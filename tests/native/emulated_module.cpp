// The GPU module as Python sees it, its kernels run on the host: so that the Python side is tested without a GPU.
#include "../../csrc/cuda/maxsim.cu"
#include "../../csrc/cuda/scan.cu"
#include "../../csrc/cuda/scan_hopper.cu"
#include "../../csrc/cuda/search.cu"
//
#include "../../csrc/cuda/bindings.cpp"
#include "../../csrc/cuda/bindings_maxsim.cpp"
