/* AVX2: 12 sums of 8 lanes, six tiles. A panel of weights takes one cache line per channel.
 * Prefetching the next panel saves a tenth to a fourth of the time if there are many channels and
 * they come from distant caches or memory. */
#include "nn/winograd4.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { LANES = 8, WIDTH = 2, ROWS = 6, FETCHES = 1 };

#define TARGET __attribute__((target("avx2,fma")))
#define WORD   TARGET static inline __attribute__((always_inline))

typedef __m256 vector;

WORD vector load(const float *from) {
    return _mm256_load_ps(from);
}

WORD vector load_any(const float *from) {
    return _mm256_loadu_ps(from);
}

WORD void store_any(float *to, vector a) {
    _mm256_storeu_ps(to, a);
}

WORD vector same(float number) {
    return _mm256_set1_ps(number);
}

WORD vector multiply_add(vector a, vector b, vector c) {
    return _mm256_fmadd_ps(a, b, c);
}

WORD vector at_least(vector least, vector a) {
    return _mm256_max_ps(least, a);
}

#include "nn/winograd4_tile.h"

const bird_winograd4_kernel bird_winograd4_avx2 = {"avx2", LANES, PANEL, false, weights, run};

#endif
