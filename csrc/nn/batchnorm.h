/* Batch norm for training, optionally followed by a fused ReLU.
 *
 * y = scale (x - mean) / sqrt(var + eps) + shift for each channel, then max(y, 0) if `relu`. Scale,
 * shift, mean, var and their gradients are external values (c).
 */
#ifndef BIRD_NN_BATCHNORM_H
#define BIRD_NN_BATCHNORM_H

#include <stdbool.h>

#include "nn/plan.h"

typedef struct bird_batchnorm {
    bool relu;
    bool fixed; /* mean and var are given, and constants to the gradient; else the forward step
                 * writes those of the batch (var divided by n h w) */
    float eps;
    bird_value scale, shift, mean, var;
} bird_batchnorm;

/* Append dst from src. *mask (BIRD_NO_VALUE without relu) marks the numbers that the ReLU let
 * through; the backward pass needs it. */
bird_status bird_batchnorm_forward(bird_plan *plan, bird_value *dst, bird_value *mask,
                                   bird_value src, const bird_batchnorm *bn, bird_error *err);

/* Append the same dst again from the saved mean and var, which is cheaper than keeping it. */
bird_status bird_batchnorm_again(bird_plan *plan, bird_value *dst, bird_value src,
                                 const bird_batchnorm *bn, bird_error *err);

/* Append diff_src, and overwrite the external values diff_scale (c) and diff_shift (c). */
bird_status bird_batchnorm_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_scale,
                                    bird_value diff_shift, bird_value diff_dst, bird_value src,
                                    bird_value mask, const bird_batchnorm *bn, bird_error *err);

#endif
