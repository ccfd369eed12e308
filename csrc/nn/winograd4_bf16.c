/* The AVX-512 kernel for tensors of bfloat16. Weights and everything in between are float32. */
#include "nn/winograd4.h"

#if defined(__x86_64__)

#include "nn/bf16.h"

#define TARGET BIRD_BF16_CODE
#define NUMBER bird_bf16
#define take   bird_load_bf16
#define put    bird_store_bf16

#include "nn/winograd4_avx512.h"
#include "nn/winograd4_tile.h"

const bird_winograd4_kernel bird_winograd4_bf16 = {"avx512 bf16", LANES, PANEL, true, weights, run};

#endif
