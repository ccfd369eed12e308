/* AVX-512: 24 accumulators of 16 lanes. The loops over a tile are unrolled whole, so that
 * the arrays of accumulators live in registers. */
#include "search/dot.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "search/cosines.h"

enum { LANES = 16, QUERIES = 4, ROWS = 6 };

#define TARGET __attribute__((target("avx512f")))

/* Lanes 0+8, then 0+4, 0+2, 0+1: the fixed tree. */
TARGET static inline float sum_lanes(__m512 a) {
    __m512 b = _mm512_add_ps(a, _mm512_shuffle_f32x4(a, a, 0x4e));
    b = _mm512_add_ps(b, _mm512_shuffle_f32x4(b, b, 0xb1));
    __m128 c = _mm512_castps512_ps128(b);
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    c = _mm_add_ss(c, _mm_shuffle_ps(c, c, 1));
    return _mm_cvtss_f32(c);
}

TARGET static void tile(float *scores, const float *queries, const float *rows,
                        size_t n_vectors) {
    __m512 sums[QUERIES][ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < QUERIES; i++)
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) sums[i][j] = _mm512_setzero_ps();
    for (size_t v = 0; v < n_vectors; v++) {
        __m512 q[QUERIES];
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) q[i] = _mm512_load_ps(queries + i * LANES);
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            __m512 row = _mm512_load_ps(rows + j * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) sums[i][j] = _mm512_fmadd_ps(q[i], row, sums[i][j]);
        }
        queries += QUERIES * LANES;
        rows += ROWS * LANES;
    }
#pragma GCC unroll 8
    for (int i = 0; i < QUERIES; i++)
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) scores[i * ROWS + j] = sum_lanes(sums[i][j]);
}

TARGET static void squares(float *sums_out, const float *rows, size_t n_vectors) {
    __m512 sums[ROWS];
#pragma GCC unroll 8
    for (int j = 0; j < ROWS; j++) sums[j] = _mm512_setzero_ps();
    for (size_t v = 0; v < n_vectors; v++) {
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            __m512 row = _mm512_load_ps(rows + j * LANES);
            sums[j] = _mm512_fmadd_ps(row, row, sums[j]);
        }
        rows += ROWS * LANES;
    }
    for (int j = 0; j < ROWS; j++) sums_out[j] = sum_lanes(sums[j]);
}

TARGET static inline __attribute__((always_inline)) void single_rows(
    float *scores, float *squares_out, const float *query, const float *const *rows, size_t dim) {
    __m512 sums[BIRD_DOT_SINGLE_ROWS], selves[BIRD_DOT_SINGLE_ROWS];
    const float *at[BIRD_DOT_SINGLE_ROWS];
#pragma GCC unroll 8
    for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) {
        sums[j] = selves[j] = _mm512_setzero_ps();
        at[j] = rows[j];
    }
    for (size_t k = 0; k < dim; k += LANES) {
        size_t left = dim - k;
        __mmask16 mask = (__mmask16)(left >= LANES ? 0xffffu : (1u << left) - 1u);
        __m512 q = _mm512_load_ps(query + k);
#pragma GCC unroll 8
        for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) {
            __m512 row = _mm512_maskz_loadu_ps(mask, at[j] + k);
            sums[j] = _mm512_fmadd_ps(q, row, sums[j]);
            if (squares_out) selves[j] = _mm512_fmadd_ps(row, row, selves[j]);
        }
    }
    for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) scores[j] = sum_lanes(sums[j]);
    if (squares_out)
        for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) squares_out[j] = sum_lanes(selves[j]);
}

TARGET static void single(float *scores, float *squares_out, const float *query,
                          const float *const *rows, size_t dim) {
    if (squares_out)
        single_rows(scores, squares_out, query, rows, dim);
    else
        single_rows(scores, NULL, query, rows, dim);
}

TARGET static void cosines(float *scores, const float *query_squares, const float *row_squares) {
    bird_cosine_tile(scores, query_squares, row_squares, QUERIES, ROWS);
}

const bird_dot bird_dot_avx512 = {"avx512", LANES, QUERIES, ROWS, tile, squares, single, cosines};

#endif
