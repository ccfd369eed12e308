/* The end of a residual block, relu(bn(src) + shortcut), and sums of gradients. */
#ifndef BIRD_NN_RESIDUAL_RELU_H
#define BIRD_NN_RESIDUAL_RELU_H

#include "nn/batchnorm.h"
#include "nn/plan.h"

/* Append dst = max(bn(src) + shortcut, 0). The batch norm must not have a ReLU of its own. */
bird_status bird_residual_relu_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                       bird_value shortcut, const bird_batchnorm *bn,
                                       bird_error *err);

/* Append the gradient of both bn(src) and shortcut: a + b if dst > 0, else 0, in the bytes of a. a
 * and b are the gradients from the next block and its shortcut; b may be BIRD_NO_VALUE. */
bird_status bird_residual_relu_backward(bird_plan *plan, bird_value *diff, bird_value a,
                                        bird_value b, bird_value dst, bird_error *err);

/* Append *sum = a + b in the bytes of a, for a gradient that arrives on two paths. */
bird_status bird_add(bird_plan *plan, bird_value *sum, bird_value a, bird_value b,
                     bird_error *err);

#endif
