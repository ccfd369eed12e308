/* The kernels of one instruction set, written with vector functions. The including file defines
 *
 *   LANES, QUERIES, ROWS   one tile: QUERIES x ROWS accumulators, all in registers
 *   ROWS_WITH_SQUARES      rows that `single` reads side by side if squares are wanted
 *   TARGET                 the attribute that allows the instructions
 *   vector                 the type of LANES floats, and these functions on it:
 *   zero, load (aligned), load_row (any alignment), load_up_to (the same, but only the first
 *   `left` lanes; the others are zero), multiply_add,
 *   sum_lanes              adds the lanes in the fixed tree of the instruction set
 *
 * The loops over a tile are fully unrolled, so that the arrays of accumulators live in registers.
 */
#ifndef BIRD_SEARCH_DOT_TILE_H
#define BIRD_SEARCH_DOT_TILE_H

#include "search/cosines.h"
#include "search/dot.h"

enum { LINE = 16 }; /* floats per cache line: one vector or two */

TARGET static void tile(float *scores, const float *queries, const float *rows,
                        size_t n_vectors) {
    vector sums[QUERIES][ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < QUERIES; i++)
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) sums[i][j] = zero();
    for (size_t v = 0; v < n_vectors; v++) {
        vector q[QUERIES];
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) q[i] = load(queries + i * LANES);
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            vector row = load(rows + j * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) sums[i][j] = multiply_add(q[i], row, sums[i][j]);
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
    vector sums[ROWS];
#pragma GCC unroll 8
    for (int j = 0; j < ROWS; j++) sums[j] = zero();
    for (size_t v = 0; v < n_vectors; v++) {
#pragma GCC unroll 8
        for (int j = 0; j < ROWS; j++) {
            vector row = load(rows + j * LANES);
            sums[j] = multiply_add(row, row, sums[j]);
        }
        rows += ROWS * LANES;
    }
    for (int j = 0; j < ROWS; j++) sums_out[j] = sum_lanes(sums[j]);
}

/* Process `n` rows side by side, one cache line of each in turn. Inlined with squares and without.
 * Whole vectors have a loop of their own: if each vector is tested for being whole, the processor
 * has fewer reads in flight, and a query takes 3 to 5 % longer. */
TARGET static inline __attribute__((always_inline)) void single_rows(
    float *scores, float *squares_out, const float *query, const float *const *rows, int n,
    size_t dim) {
    vector sums[BIRD_DOT_SINGLE_ROWS], selves[BIRD_DOT_SINGLE_ROWS];
    const float *at[BIRD_DOT_SINGLE_ROWS];
    size_t k = 0;
#pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        sums[j] = selves[j] = zero();
        at[j] = rows[j];
    }
    for (; k + LINE <= dim; k += LINE)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++)
#pragma GCC unroll 2
            for (size_t l = k; l < k + LINE; l += LANES) {
                vector row = load_row(at[j] + l);
                sums[j] = multiply_add(load(query + l), row, sums[j]);
                if (squares_out) selves[j] = multiply_add(row, row, selves[j]);
            }
    for (; k < dim; k += LANES) {
        vector q = load(query + k);
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            vector row = load_up_to(at[j] + k, dim - k);
            sums[j] = multiply_add(q, row, sums[j]);
            if (squares_out) selves[j] = multiply_add(row, row, selves[j]);
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < n; j++) scores[j] = sum_lanes(sums[j]);
    if (squares_out)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) squares_out[j] = sum_lanes(selves[j]);
}

TARGET static void single(float *scores, float *squares_out, const float *query,
                          const float *const *rows, size_t dim) {
    if (!squares_out)
        single_rows(scores, NULL, query, rows, BIRD_DOT_SINGLE_ROWS, dim);
    else
        for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j += ROWS_WITH_SQUARES)
            single_rows(scores + j, squares_out + j, query, rows + j, ROWS_WITH_SQUARES, dim);
}

TARGET static void cosines(float *scores, const float *query_squares, const float *row_squares) {
    bird_cosine_tile(scores, query_squares, row_squares, QUERIES, ROWS);
}

#endif
