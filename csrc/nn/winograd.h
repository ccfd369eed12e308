/* 3x3 convolutions with stride 1 and pad 1 by Winograd's minimal filtering, F(2x2, 3x3): 16
 * multiplications for four outputs instead of 36 (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015).
 *
 * The input is cut into tiles of 4x4 that overlap by two. Each tile is transformed and multiplied
 * elementwise with the transformed weights; over all tiles and channels this makes 16 matrix
 * products (tiles, ic) x (ic, oc), one per position ("place") in a tile. The gradient of the
 * weights is 16 products (ic, tiles) x (tiles, oc) of the same tiles and the transformed gradient
 * of the output. The transforms only add, subtract and halve, so small integers stay exact.
 *
 * The arithmetic is for AVX2 on nChw8c; ic must be a multiple of 8 and oc of 16. nn/conv_winograd.h
 * makes plan steps of it. The bits do not depend on the number of threads and, except for the
 * gradient of the weights, not on the batch.
 */
#ifndef BIRD_NN_WINOGRAD_H
#define BIRD_NN_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/conv.h"

/* A convolution, and how its work is divided. */
typedef struct bird_winograd {
    int n, ic, oc, h, w;   /* src (n, ic, h, w), dst (n, oc, h, w) */
    int tiles_w, tiles_hw; /* tiles per row and per image */
    int chunk;             /* tiles processed together, so that their matrices stay in the caches */
    bool relu;
} bird_winograd;

bird_winograd bird_winograd_of(const bird_conv *conv, bool relu);

/* Return how many floats of scratch `channels` channels (those of src or of dst) need. */
size_t bird_winograd_scratch(const bird_winograd *of, int channels);

/* Return the number of floats of the transformed weights. */
size_t bird_winograd_weights_size(const bird_winograd *of);

/* Write the transformed weights to u, from plain (oc, ic, 3, 3). With `turned`, `of` is the
 * backward pass of a convolution: `plain` then holds the weights (ic, oc, 3, 3) of that
 * convolution, and every filter is rotated by 180 degrees. */
void bird_winograd_weights(const bird_winograd *of, float *u, const float *plain, bool turned,
                           int n_threads);

/* Compute dst = conv(src) + bias, then an optional ReLU. `bias` (oc) may be NULL. v and m are
 * scratch for ic and for oc channels. */
void bird_winograd_forward(const bird_winograd *of, float *dst, const float *src, const float *u,
                           const float *bias, float *v, float *m, int n_threads);

/* Compute diff_weights (oc, ic, 3, 3), in plain order. v and m are scratch as above; u is scratch
 * of the size of the transformed weights. */
void bird_winograd_backward_weights(const bird_winograd *of, float *diff_weights,
                                    const float *src, const float *diff_dst, float *v, float *m,
                                    float *u, int n_threads);

#endif
