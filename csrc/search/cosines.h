/* Convert dot products to cosines; inlined into the loop of each instruction set. */
#ifndef BIRD_SEARCH_COSINES_H
#define BIRD_SEARCH_COSINES_H

#include <math.h>
#include <stddef.h>

/* Return the cosine for a dot product and two squared lengths. sqrt(a * a) is exactly |a| in IEEE
 * arithmetic, so a vector scores exactly 1 with itself. The callers keep squares within 2^-40 ..
 * 2^40, where the product neither overflows nor loses digits. A zero vector scores 0; NaN stays
 * NaN. */
static inline __attribute__((always_inline)) float bird_cosine(float dot, float query_square,
                                                               float row_square) {
    float product = query_square * row_square;
    float score = dot / sqrtf(product == 0.0f ? 1.0f : product);
    /* Rounding can exceed the range of a cosine by one unit in the last place. */
    score = score > 1.0f ? 1.0f : score;
    return score < -1.0f ? -1.0f : score;
}

static inline __attribute__((always_inline)) void bird_cosine_tile(float *scores,
                                                                   const float *query_squares,
                                                                   const float *row_squares,
                                                                   size_t query_tile,
                                                                   size_t row_tile) {
    for (size_t i = 0; i < query_tile; i++)
        for (size_t j = 0; j < row_tile; j++)
            scores[i * row_tile + j] =
                bird_cosine(scores[i * row_tile + j], query_squares[i], row_squares[j]);
}

#endif
