/* The AVX-512 kernel for float32. */
#include "nn/winograd4.h"

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f")))

#include "nn/winograd4_avx512.h"
#include "nn/winograd4_tile.h"

const bird_winograd4_kernel bird_winograd4_avx512 = {"avx512", LANES, PANEL, false, weights, run};

#endif
