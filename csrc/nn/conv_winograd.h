/* 3x3 convolutions with stride 1 by Winograd's minimal filtering, F(2x2, 3x3): 16 multiplications
 * for four outputs instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
 * Networks", 2015).
 *
 * The input is cut into tiles of 4x4 that overlap by two; each, transformed, is multiplied
 * position by position with the transformed weights: 16 matrix products (tiles, ic) x (ic, oc). The
 * transforms only add and subtract, and those of the weights halve, so that small integers stay
 * exact.
 *
 * For AVX2 and nChw8c. nn/conv_table.h says where it is used.
 */
#ifndef BIRD_NN_CONV_WINOGRAD_H
#define BIRD_NN_CONV_WINOGRAD_H

#include <stdbool.h>

#include "nn/conv.h"

/* As bird_conv_inference, without a residual; pad 1, ic a multiple of 8, oc of 16. */
bird_status bird_conv_winograd(bird_plan *plan, bird_value *dst, bird_value src,
                               const bird_conv *conv, bool relu, bird_packed *packed, int key,
                               bird_error *err);

#endif
