/* AVX2 with FMA: 12 accumulators of 8 lanes, three registers for queries, one for the row. */
#include "search/dot.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdint.h>

enum {
    LANES = 8,
    QUERIES = 3,
    ROWS = 4,
    /* With squares, eight rows would need more than 16 registers. */
    ROWS_WITH_SQUARES = BIRD_DOT_SINGLE_ROWS / 2
};

#define TARGET __attribute__((target("avx2,fma")))
#define WORD   TARGET static inline __attribute__((always_inline))

typedef __m256 vector;

WORD vector zero(void) {
    return _mm256_setzero_ps();
}

WORD vector load(const float *from) {
    return _mm256_load_ps(from);
}

WORD vector load_row(const float *from) {
    return _mm256_loadu_ps(from);
}

WORD vector load_up_to(const float *from, size_t left) {
    if (left >= LANES) return _mm256_loadu_ps(from);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)left), lane));
}

WORD vector multiply_add(vector a, vector b, vector sum) {
    return _mm256_fmadd_ps(a, b, sum);
}

/* Add lanes 0+4, then 0+2, then 0+1. */
WORD float sum_lanes(vector a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_shuffle_ps(b, b, 1));
    return _mm_cvtss_f32(b);
}

#include "search/dot_tile.h"

const bird_dot bird_dot_avx2 = {"avx2", LANES, QUERIES, ROWS, tile, squares, single, cosines};

#endif
