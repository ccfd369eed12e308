/* Convolutions of float32 numbers on AMX tiles, which multiply bfloat16 numbers, for inference.
 *
 * Each number x is split into two bfloat16 numbers: `high`, which is x rounded, and `low`, which is
 * x - high rounded. Together they keep 16 bits of x. A product is the sum of three products of
 * tiles, added up in float32:
 *
 *     a * b  =  a.high * b.high + a.high * b.low + a.low * b.high
 *
 * The error of a product is at most about 2^-16 of it, so the error of a layer is like that of
 * Winograd's F(4x4). (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial
 * intelligence datatype for higher-precision computations".)
 *
 * A block of the input is split into panels, which stay in the caches: for every 32 channels, one
 * line of 64 bytes per pixel. The sixteen rows of a tile are then sixteen lines in a row, also for
 * each of the nine places of a 3x3 filter, because a panel then has a border of zeros.
 *
 * Each sum adds the same products in the same order, so the bits of an image do not depend on the
 * batch, the number of threads or the way the work is divided. nn/conv_split.h makes plan steps of
 * these convolutions.
 */
#ifndef BIRD_NN_SPLIT_H
#define BIRD_NN_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/conv.h"

/* A convolution, and how its work is divided. */
typedef struct bird_split {
    int n, ic, oc, ih, iw, oh, ow; /* src (n, ih, iw, ic), dst (n, oh, ow, oc) */
    int side, stride;              /* of the filters: 1, or 3 with stride 1 and padding 1 */
    int rows;                      /* rows of output pixels whose input is split at once */
    bool by_pixels;                /* all filters for some pixels, then for the next pixels */
    bool relu, residual;           /* residual: add the numbers that are already in dst */
} bird_split;

/* Return true if this machine has AMX, oneDNN's instruction set limit allows it, and the shape is
 * supported. */
bool bird_split_fits(const bird_conv *conv);

/* Describe a convolution that fits, with the work divided for `n_threads` threads. */
bird_split bird_split_of(const bird_conv *conv, bool residual, bool relu, int n_threads);

/* Return how many floats of scratch a step needs. */
size_t bird_split_scratch(const bird_split *of);

/* Write split weights (oc / 16, ic / 32, side, side, 2 tiles) from plain (oc, ic, side, side). They
 * occupy as many bytes. */
void bird_split_weights(float *to, const float *plain, int oc, int ic, int side, int n_threads);

/* Compute dst = conv(src) + bias (oc), plus dst before if `residual`, then an optional ReLU. */
void bird_split_forward(const bird_split *of, float *dst, const float *src, const float *weights,
                        const float *bias, float *scratch, int n_threads);

#endif
