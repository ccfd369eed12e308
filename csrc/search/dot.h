/* Dot products with a fixed order of summation for each instruction set.
 *
 * The sum of a pair (query, row) is one vector accumulator over the dimensions, then one
 * tree over its lanes. So the score of a pair does not depend on the number of other queries
 * or rows in the call, nor on the kernel (`single` or `tile`) that computes it. Instruction
 * sets differ in the number of lanes and therefore in the last bits.
 */
#ifndef BIRD_SEARCH_DOT_H
#define BIRD_SEARCH_DOT_H

#include <stddef.h>

enum {
    BIRD_DOT_SINGLE_ROWS = 8, /* rows of one call of `single` */
    BIRD_DOT_MAX_LANES = 16,
    BIRD_DOT_MAX_QUERY_TILE = 8,
    BIRD_DOT_MAX_ROW_TILE = 8
};

/* Packed vectors: (ceil(dim / lanes), tile, lanes), aligned to BIRD_ALIGNMENT, the last
 * vector filled up with zeros. */
typedef struct bird_dot {
    const char *isa;
    size_t lanes;
    size_t query_tile;
    size_t row_tile;

    /* scores (query_tile, row_tile) = dot products of packed queries and packed rows. */
    void (*tile)(float *scores, const float *queries, const float *rows, size_t n_vectors);

    /* squares (row_tile,) = each packed row with itself. */
    void (*squares)(float *squares, const float *rows, size_t n_vectors);

    /* scores (BIRD_DOT_SINGLE_ROWS,) = one query packed with tile 1, with rows as they lie in
     * memory, any alignment; `squares` (BIRD_DOT_SINGLE_ROWS,) out of the same read, or NULL. */
    void (*single)(float *scores, float *squares, const float *query, const float *const *rows,
                   size_t dim);

    /* scores (query_tile, row_tile): dot products become cosines, see bird_dot_cosine. */
    void (*cosines)(float *scores, const float *query_squares, const float *row_squares);
} bird_dot;

/* The best kernels that this machine supports. */
const bird_dot *bird_dot_best(void);

/* Kernels by number, 0 the best; NULL past the last. For tests of the others. */
const bird_dot *bird_dot_at(int i);

/* Pack `n` rows ((dim,) each, any alignment) as a tile of `tile` >= n; the rest is zero. */
void bird_dot_pack(float *packed, const float *const *rows, size_t n, size_t tile, size_t lanes,
                   size_t dim);

/* The tables, one per file; bird_dot_at leaves out those that the machine does not support. */
extern const bird_dot bird_dot_portable;
#if defined(__x86_64__)
extern const bird_dot bird_dot_avx2;
extern const bird_dot bird_dot_avx512;
#endif

#endif
