// Hopper's own instructions: tensor cores by the warpgroup, the bulk copy engine, barriers in shared memory, registers
// moved between warps. They exist for sm_90a only.
#pragma once

#include "cuda/ptx.cuh"

#if defined(__CUDACC__)

namespace jmlr::cuda {

// --- barriers in shared memory: 8 bytes at `barrier` ---
JMLR_DEVICE void barrier_init(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Barriers made by this thread are seen by the copy engine.
JMLR_DEVICE void barrier_init_done() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
JMLR_DEVICE void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
JMLR_DEVICE void barrier_arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Until the phase of this parity is over.
JMLR_DEVICE void barrier_wait(uint32_t barrier, uint32_t parity) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  }
}
// Copies contiguous bytes (a multiple of 16) and tells `barrier` when they have come.
JMLR_DEVICE void copy_bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

// --- a barrier of some of the block's warps ---
JMLR_DEVICE void barrier_of(uint32_t name, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
template <int kRegisters>
JMLR_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
JMLR_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// --- tensor cores by the warpgroup ---
// The compiler must not move accesses to the sums across these.
template <typename Sum, uint32_t kCount>
JMLR_DEVICE void hold(Sum (&d)[kCount]) {
#pragma unroll
  for (uint32_t i = 0; i < kCount; ++i) {
    if constexpr (std::is_same_v<Sum, float>) {
      asm volatile("" : "+f"(d[i])::"memory");
    } else {
      asm volatile("" : "+r"(d[i])::"memory");
    }
  }
}
JMLR_DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
JMLR_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
JMLR_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// clang-format off
#define JMLR_4(c, d, i) c((d)[i]), c((d)[(i) + 1]), c((d)[(i) + 2]), c((d)[(i) + 3])
#define JMLR_8(c, d, i) JMLR_4(c, d, i), JMLR_4(c, d, (i) + 4)
#define JMLR_16(c, d, i) JMLR_8(c, d, i), JMLR_8(c, d, (i) + 8)
#define JMLR_32(c, d, i) JMLR_16(c, d, i), JMLR_16(c, d, (i) + 16)
#define JMLR_64(c, d, i) JMLR_32(c, d, i), JMLR_32(c, d, (i) + 32)
#define JMLR_128(c, d, i) JMLR_64(c, d, i), JMLR_64(c, d, (i) + 64)
#define JMLR_REGISTERS_8 \
  "%0, %1, %2, %3, %4, %5, %6, %7"
#define JMLR_REGISTERS_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define JMLR_REGISTERS_128 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// d (+)= x y^T for 64 rows and COUNT * 2 columns of 32 bytes; `add` 0 sets instead of adding.
#define JMLR_WGMMA(COUNT, SHAPE, TYPES, SUM, C, A, B, P, FLAGS)                                                  \
  JMLR_DEVICE void wgmma(SUM (&d)[COUNT], uint64_t x, uint64_t y, int add) {                                     \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\nwgmma.mma_async.sync.aligned." SHAPE "." TYPES " {" \
                 JMLR_REGISTERS_##COUNT "}, " A ", " B ", p" FLAGS ";\n}"                                        \
                 : JMLR_##COUNT(C, d, 0) : "l"(x), "l"(y), "r"(add) : "memory");                                 \
  }
JMLR_WGMMA(8, "m64n16k16", "f32.bf16.bf16", float, "+f", "%8", "%9", "%10", ", 1, 1, 0, 0")
JMLR_WGMMA(8, "m64n16k32", "s32.s8.s8", int32_t, "+r", "%8", "%9", "%10", "")
JMLR_WGMMA(32, "m64n64k16", "f32.bf16.bf16", float, "+f", "%32", "%33", "%34", ", 1, 1, 0, 0")
JMLR_WGMMA(32, "m64n64k32", "s32.s8.s8", int32_t, "+r", "%32", "%33", "%34", "")
JMLR_WGMMA(128, "m64n256k16", "f32.bf16.bf16", float, "+f", "%128", "%129", "%130", ", 1, 1, 0, 0")
JMLR_WGMMA(128, "m64n256k32", "s32.s8.s8", int32_t, "+r", "%128", "%129", "%130", "")
// clang-format on

}  // namespace jmlr::cuda

#endif
