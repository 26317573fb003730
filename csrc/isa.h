// Which kernels this process uses: the best the machine has, or the one that JMLR_ISA names.
#pragma once

#include <string>
#include <vector>

#include "kernel.h"

namespace jmlr {

// Names that JMLR_ISA may take in this build on this machine, worst first; "auto" is not among them.
std::vector<std::string> available_isas();

// `name` is "" or "auto" for the best, else one of available_isas(). Throws std::invalid_argument naming what is
// allowed.
Kernels select_kernels(const std::string& name);

}  // namespace jmlr
