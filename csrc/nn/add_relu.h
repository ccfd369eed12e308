/* The end of a residual block: relu(a + b), and sums of gradients. */
#ifndef BIRD_NN_ADD_RELU_H
#define BIRD_NN_ADD_RELU_H

#include "nn/plan.h"

/* dst = max(a + b, 0), in a's bytes: this must be a's last use as itself. */
bird_status bird_add_relu_forward(bird_plan *plan, bird_value *dst, bird_value a, bird_value b,
                                  bird_error *err);

/* The gradient of both a and b: diff_dst where dst > 0, else 0; in diff_dst's bytes. */
bird_status bird_add_relu_backward(bird_plan *plan, bird_value *diff, bird_value diff_dst,
                                   bird_value dst, bird_error *err);

/* *sum = a + b in a's bytes: a gradient that came by two roads. */
bird_status bird_add(bird_plan *plan, bird_value *sum, bird_value a, bird_value b,
                     bird_error *err);

#endif
