/* Batch norm for training, with ReLU fused behind it or not.
 *
 * y = scale (x - mean) / sqrt(var + eps) + shift over each channel, then max(y, 0) where
 * `relu`. Scale, shift, mean, var and their gradients are external values (c).
 */
#ifndef BIRD_NN_BATCHNORM_H
#define BIRD_NN_BATCHNORM_H

#include <stdbool.h>

#include "nn/plan.h"

typedef struct bird_batchnorm {
    bool relu;
    bool fixed; /* mean and var are given and are constants to the gradient; else they are the
                   batch's, written by the forward step (var divided by n h w) */
    float eps;
    bird_value scale, shift, mean, var;
} bird_batchnorm;

/* dst from src. *mask (BIRD_NO_VALUE without relu) says where the ReLU let through; backward
 * needs it. */
bird_status bird_batchnorm_forward(bird_plan *plan, bird_value *dst, bird_value *mask,
                                   bird_value src, const bird_batchnorm *bn, bird_error *err);

/* The same dst once more from the saved mean and var: cheaper than keeping it. */
bird_status bird_batchnorm_again(bird_plan *plan, bird_value *dst, bird_value src,
                                 const bird_batchnorm *bn, bird_error *err);

/* diff_src, and diff_scale (c) and diff_shift (c), external values that are overwritten. */
bird_status bird_batchnorm_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_scale,
                                    bird_value diff_shift, bird_value diff_dst, bird_value src,
                                    bird_value mask, const bird_batchnorm *bn, bird_error *err);

#endif
