// The GPU search, run on the host by the emulation, against the contract written out: every scan x storage x shape.
#include "../../csrc/cuda/maxsim.cu"
#include "../../csrc/cuda/scan.cu"
#include "../../csrc/cuda/scan_hopper.cu"
#include "../../csrc/cuda/search.cu"
#include "cuda_maxsim_cases.h"

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string(argv[1]) == "quick";
  int cases = 0;
  int wrong = 0;
  cases += test_layout(wrong);
  cases += test_adversarial(quick, wrong);
  cases += test_searches(quick, wrong);
  cases += test_merge(wrong);
  cases += test_rounding(wrong);
  cases += test_passage_layout(wrong);
  cases += test_maxsim(quick, wrong);
  cases += test_maxsim_rounding(wrong);
  std::printf("%d cases, %d wrong\n", cases, wrong);
  return wrong != 0;
}
