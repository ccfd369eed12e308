/* The vector functions of nn/winograd4_tile.h for AVX-512: 24 sums of 16 lanes, twelve tiles. The
 * including file must define TARGET first. */
#ifndef BIRD_NN_WINOGRAD4_AVX512_H
#define BIRD_NN_WINOGRAD4_AVX512_H

#include <immintrin.h>

enum { LANES = 16, WIDTH = 2, ROWS = 12, FETCHES = 0 };

#define WORD TARGET static inline __attribute__((always_inline))

typedef __m512 vector;

WORD vector load(const float *from) {
    return _mm512_load_ps(from);
}

WORD vector load_any(const float *from) {
    return _mm512_loadu_ps(from);
}

WORD void store_any(float *to, vector a) {
    _mm512_storeu_ps(to, a);
}

WORD vector same(float number) {
    return _mm512_set1_ps(number);
}

WORD vector multiply_add(vector a, vector b, vector c) {
    return _mm512_fmadd_ps(a, b, c);
}

WORD vector at_least(vector least, vector a) {
    return _mm512_max_ps(least, a);
}

#endif
