/* AVX2 with FMA: 12 accumulators of 8 lanes, three queries, one register for the row. */
#include "search/dot.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdint.h>

#include "search/cosines.h"

enum { LANES = 8, QUERIES = 3, ROWS = 4 };

#define TARGET __attribute__((target("avx2,fma")))

/* Lanes 0+4, then 0+2, 0+1: the fixed tree. */
TARGET static inline float sum_lanes(__m256 a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_shuffle_ps(b, b, 1));
    return _mm_cvtss_f32(b);
}

TARGET static void tile(float *scores, const float *queries, const float *rows,
                        size_t n_vectors) {
    __m256 sums[QUERIES][ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < QUERIES; i++)
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) sums[i][j] = _mm256_setzero_ps();
    for (size_t v = 0; v < n_vectors; v++) {
        __m256 q[QUERIES];
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) q[i] = _mm256_load_ps(queries + i * LANES);
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            __m256 row = _mm256_load_ps(rows + j * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) sums[i][j] = _mm256_fmadd_ps(q[i], row, sums[i][j]);
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
    __m256 sums[ROWS];
#pragma GCC unroll 8
    for (int j = 0; j < ROWS; j++) sums[j] = _mm256_setzero_ps();
    for (size_t v = 0; v < n_vectors; v++) {
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            __m256 row = _mm256_load_ps(rows + j * LANES);
            sums[j] = _mm256_fmadd_ps(row, row, sums[j]);
        }
        rows += ROWS * LANES;
    }
    for (int j = 0; j < ROWS; j++) sums_out[j] = sum_lanes(sums[j]);
}

/* The first `left` (1 to 7) lanes are read, the others are zero. */
TARGET static inline __m256 load_first(const float *from, size_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)left), lane));
}

/* Half of the rows: with their squares, all eight would need more than 16 registers. */
enum { HALF = BIRD_DOT_SINGLE_ROWS / 2 };

TARGET static inline __attribute__((always_inline)) void single_rows(
    float *scores, float *squares_out, const float *query, const float *const *rows, size_t dim) {
    __m256 sums[HALF], selves[HALF];
    const float *at[HALF];
#pragma GCC unroll 8
    for (int j = 0; j < HALF; j++) {
        sums[j] = selves[j] = _mm256_setzero_ps();
        at[j] = rows[j];
    }
    for (size_t k = 0; k < dim; k += LANES) {
        size_t left = dim - k;
        __m256 q = _mm256_load_ps(query + k);
#pragma GCC unroll 8
        for (int j = 0; j < HALF; j++) {
            __m256 row = left >= LANES ? _mm256_loadu_ps(at[j] + k) : load_first(at[j] + k, left);
            sums[j] = _mm256_fmadd_ps(q, row, sums[j]);
            if (squares_out) selves[j] = _mm256_fmadd_ps(row, row, selves[j]);
        }
    }
    for (int j = 0; j < HALF; j++) scores[j] = sum_lanes(sums[j]);
    if (squares_out)
        for (int j = 0; j < HALF; j++) squares_out[j] = sum_lanes(selves[j]);
}

TARGET static void single(float *scores, float *squares_out, const float *query,
                          const float *const *rows, size_t dim) {
    for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j += HALF) {
        if (squares_out)
            single_rows(scores + j, squares_out + j, query, rows + j, dim);
        else
            single_rows(scores + j, NULL, query, rows + j, dim);
    }
}

TARGET static void cosines(float *scores, const float *query_squares, const float *row_squares) {
    bird_cosine_tile(scores, query_squares, row_squares, QUERIES, ROWS);
}

const bird_dot bird_dot_avx2 = {"avx2", LANES, QUERIES, ROWS, tile, squares, single, cosines};

#endif
