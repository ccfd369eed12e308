/* The kernel for machines without AVX2, with GCC's vectors of four lanes: SSE2 on x86-64, NEON on
 * ARM. */
#include <stdint.h>
#include <string.h>

#include "nn/winograd4.h"

enum { LANES = 4, WIDTH = 2, ROWS = 6, FETCHES = 0 };

#define TARGET
#define WORD static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t mask __attribute__((vector_size(LANES * sizeof(int32_t))));

WORD vector load(const float *from) {
    return *(const vector *)from;
}

WORD vector load_any(const float *from) {
    vector a;
    memcpy(&a, from, sizeof a);
    return a;
}

WORD void store_any(float *to, vector a) {
    memcpy(to, &a, sizeof a);
}

WORD vector same(float number) {
    return (vector){number, number, number, number};
}

WORD vector multiply_add(vector a, vector b, vector c) {
    return a * b + c;
}

WORD vector at_least(vector least, vector a) {
    const mask below = a < least;
    return (vector)(((mask)a & ~below) | ((mask)least & below));
}

#include "nn/winograd4_tile.h"

const bird_winograd4_kernel bird_winograd4_portable = {"portable", LANES, PANEL, false, weights,
                                                       run};
