/* The steps of residual_relu.h for bfloat16 tensors with their channels last. */
#ifndef BIRD_NN_RESIDUAL_RELU_BF16_H
#define BIRD_NN_RESIDUAL_RELU_BF16_H

#include <stddef.h>

#include "nn/plan.h"

/* values: dst, src, shortcut (rows, channels); mean, var, scale, shift (channels) float32. */
bird_status bird_residual_relu_forward_bf16(bird_plan *plan, size_t rows, size_t channels,
                                            float eps, const bird_value values[7],
                                            bird_error *err);

/* values: a, which becomes the gradient, dst and, if n_values is 3, b; each of `count` numbers. */
bird_status bird_residual_relu_backward_bf16(bird_plan *plan, size_t count, int n_values,
                                             const bird_value *values, bird_error *err);

#endif
