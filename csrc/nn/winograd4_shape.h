/* What nn/winograd4.c and the kernels know of each other: how scratch is laid out. */
#ifndef BIRD_NN_WINOGRAD4_SHAPE_H
#define BIRD_NN_WINOGRAD4_SHAPE_H

#include "nn/winograd4.h"

enum {
    WINOGRAD4_TILE = 6, /* pixels read of a side */
    WINOGRAD4_STEP = 4, /* pixels written of a side */
    WINOGRAD4_PLACES = WINOGRAD4_TILE * WINOGRAD4_TILE,
    WINOGRAD4_BLOCK = 16, /* tiles of a piece at most: more of them leave the caches */
    /* Floats between the matrices of two places, which else fall on the same sets of a cache. */
    WINOGRAD4_GAP = 16
};

/* Floats from one place's matrix (block, channels) to the next's. */
static inline size_t winograd4_stride(const bird_winograd4 *of, int channels) {
    return (size_t)of->block * (size_t)channels + WINOGRAD4_GAP;
}

#endif
