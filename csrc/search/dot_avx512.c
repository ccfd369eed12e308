/* AVX-512: 24 accumulators of 16 lanes, four registers for queries, one for the row. */
#include "search/dot.h"

#if defined(__x86_64__)

#include <immintrin.h>

enum { LANES = 16, QUERIES = 4, ROWS = 6, ROWS_WITH_SQUARES = BIRD_DOT_SINGLE_ROWS };

#define TARGET __attribute__((target("avx512f")))
#define WORD   TARGET static inline __attribute__((always_inline))

typedef __m512 vector;

WORD vector zero(void) {
    return _mm512_setzero_ps();
}

WORD vector load(const float *from) {
    return _mm512_load_ps(from);
}

WORD vector load_row(const float *from) {
    return _mm512_loadu_ps(from);
}

WORD vector load_up_to(const float *from, size_t left) {
    return _mm512_maskz_loadu_ps((__mmask16)(left >= LANES ? 0xffffu : (1u << left) - 1u), from);
}

WORD vector multiply_add(vector a, vector b, vector sum) {
    return _mm512_fmadd_ps(a, b, sum);
}

/* Add lanes 0+8, then 0+4, 0+2 and 0+1. */
WORD float sum_lanes(vector a) {
    __m512 b = _mm512_add_ps(a, _mm512_shuffle_f32x4(a, a, 0x4e));
    b = _mm512_add_ps(b, _mm512_shuffle_f32x4(b, b, 0xb1));
    __m128 c = _mm512_castps512_ps128(b);
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    c = _mm_add_ss(c, _mm_shuffle_ps(c, c, 1));
    return _mm_cvtss_f32(c);
}

#include "search/dot_tile.h"

const bird_dot bird_dot_avx512 = {"avx512", LANES, QUERIES, ROWS, tile, squares, single, cosines};

#endif
