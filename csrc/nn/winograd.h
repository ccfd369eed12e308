/* 3x3 convolutions with stride 1 and pad 1 by Winograd's minimal filtering, F(2x2, 3x3): 16
 * multiplications for four outputs instead of 36 (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015).
 *
 * The input is cut into tiles of 4x4 that overlap by two; each, transformed, is multiplied
 * place by place with the transformed weights: 16 matrix products (tiles, ic) x (ic, oc). The
 * gradient of the weights is 16 products (ic, tiles) x (tiles, oc) of the same tiles and the
 * transformed gradient of the output. The transforms only add, subtract and halve, so that small
 * integers stay exact.
 *
 * Arithmetic for AVX2 on nChw8c, ic a multiple of 8 and oc of 16; nn/conv_winograd.h makes steps of
 * a plan of it. The same bits whatever the number of threads; without a gradient, whatever the
 * batch, too.
 */
#ifndef BIRD_NN_WINOGRAD_H
#define BIRD_NN_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/conv.h"

/* What is to be done, and in which pieces. */
typedef struct bird_winograd {
    int n, ic, oc, h, w;   /* src (n, ic, h, w), dst (n, oc, h, w) */
    int tiles_w, tiles_hw; /* tiles of a row and of an image */
    int chunk;             /* tiles on their way at once: their matrices stay in the caches */
    bool relu;
} bird_winograd;

bird_winograd bird_winograd_of(const bird_conv *conv, bool relu);

/* Floats of scratch that as many channels take, src's or dst's. */
size_t bird_winograd_scratch(const bird_winograd *of, int channels);

/* Floats of the transformed weights. */
size_t bird_winograd_weights_size(const bird_winograd *of);

/* u, transformed, from plain (oc, ic, 3, 3). With `turned`, from the weights (ic, oc, 3, 3) of the
 * convolution whose backward pass `of` is: every filter rotated by 180 degrees. */
void bird_winograd_weights(const bird_winograd *of, float *u, const float *plain, bool turned,
                           int n_threads);

/* dst = conv(src) + bias, then an optional ReLU; `bias` (oc) may be NULL. v, m: scratch for ic
 * and for oc channels. */
void bird_winograd_forward(const bird_winograd *of, float *dst, const float *src, const float *u,
                           const float *bias, float *v, float *m, int n_threads);

/* diff_weights (oc, ic, 3, 3), plain. v, m: scratch as above; u: as the transformed weights. */
void bird_winograd_backward_weights(const bird_winograd *of, float *diff_weights,
                                    const float *src, const float *diff_dst, float *v, float *m,
                                    float *u, int n_threads);

#endif
