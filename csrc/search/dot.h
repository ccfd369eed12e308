/* Dot products with a fixed order of summation for each instruction set.
 *
 * The sum of a pair (query, row) is one vector accumulator over the dimensions, followed by one
 * tree over its lanes. So the score of a pair does not depend on how many other queries or rows are
 * in the call, nor on which kernel (`single` or `tile`) computes it. Instruction sets differ in the
 * number of lanes and therefore in the last bits.
 */
#ifndef BIRD_SEARCH_DOT_H
#define BIRD_SEARCH_DOT_H

#include <stddef.h>

enum {
    BIRD_DOT_SINGLE_ROWS = 8, /* rows per call of `single` */
    BIRD_DOT_MAX_LANES = 16,
    BIRD_DOT_MAX_QUERY_TILE = 8,
    BIRD_DOT_MAX_ROW_TILE = 8
};

/* The kernels of one instruction set. Packed vectors are (ceil(dim / lanes), tile, lanes), aligned
 * to BIRD_ALIGNMENT, with the last vector padded with zeros. */
typedef struct bird_dot {
    const char *isa;
    size_t lanes;
    size_t query_tile;
    size_t row_tile;

    /* Write scores (query_tile, row_tile), the dot products of packed queries and packed rows. */
    void (*tile)(float *scores, const float *queries, const float *rows, size_t n_vectors);

    /* Write squares (row_tile,), the dot product of each packed row with itself. */
    void (*squares)(float *squares, const float *rows, size_t n_vectors);

    /* Write scores (BIRD_DOT_SINGLE_ROWS,), the dot products of one query, packed with tile 1, and
     * unpacked rows of any alignment. If `squares` is not NULL, also write squares
     * (BIRD_DOT_SINGLE_ROWS,) while reading the rows. */
    void (*single)(float *scores, float *squares, const float *query, const float *const *rows,
                   size_t dim);

    /* Convert scores (query_tile, row_tile) from dot products to cosines; see bird_cosine. */
    void (*cosines)(float *scores, const float *query_squares, const float *row_squares);
} bird_dot;

/* Return the best kernels that this machine supports. */
const bird_dot *bird_dot_best(void);

/* Return kernels number i, 0 the best, or NULL past the last ones, so that tests can run all of
 * them. */
const bird_dot *bird_dot_at(int i);

/* Pack `n` rows ((dim,) each, any alignment) as a tile of `tile` >= n rows. The rest is zero. */
void bird_dot_pack(float *packed, const float *const *rows, size_t n, size_t tile, size_t lanes,
                   size_t dim);

/* One table per file. bird_dot_at omits those that the machine does not support. */
extern const bird_dot bird_dot_portable;
#if defined(__x86_64__)
extern const bird_dot bird_dot_avx2;
extern const bird_dot bird_dot_avx512;
#endif

#endif
