/* The end of a residual block, relu(bn(src) + shortcut), and sums of gradients. */
#ifndef BIRD_NN_RESIDUAL_RELU_H
#define BIRD_NN_RESIDUAL_RELU_H

#include "nn/batchnorm.h"
#include "nn/plan.h"

/* dst = max(bn(src) + shortcut, 0), a batch norm without a ReLU of its own. */
bird_status bird_residual_relu_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                       bird_value shortcut, const bird_batchnorm *bn,
                                       bird_error *err);

/* The gradient of both bn(src) and shortcut: a + b where dst > 0, else 0; in a's bytes. The two
 * are what the next block and its shortcut hand back; b may be BIRD_NO_VALUE. */
bird_status bird_residual_relu_backward(bird_plan *plan, bird_value *diff, bird_value a,
                                        bird_value b, bird_value dst, bird_error *err);

/* *sum = a + b in a's bytes: a gradient that arrives on two paths. */
bird_status bird_add(bird_plan *plan, bird_value *sum, bird_value a, bird_value b,
                     bird_error *err);

#endif
