/* What nn/winograd4.c and its kernels share: the layout of the scratch. */
#ifndef BIRD_NN_WINOGRAD4_SHAPE_H
#define BIRD_NN_WINOGRAD4_SHAPE_H

#include "nn/winograd4.h"

enum {
    WINOGRAD4_TILE = 6, /* pixels read per side of a tile */
    WINOGRAD4_STEP = 4, /* pixels written per side of a tile */
    WINOGRAD4_PLACES = WINOGRAD4_TILE * WINOGRAD4_TILE,
    WINOGRAD4_BLOCK = 16, /* most tiles per piece: more would not stay in the caches */
    /* Floats between the matrices of two places, which otherwise map to the same cache sets. */
    WINOGRAD4_GAP = 16
};

/* Floats from the matrix (block, channels) of one place to that of the next. */
static inline size_t winograd4_stride(const bird_winograd4 *of, int channels) {
    return (size_t)of->block * (size_t)channels + WINOGRAD4_GAP;
}

#endif
