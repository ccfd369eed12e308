/* The steps behind block_end.h, by type: float32 in the layout of training, bfloat16 with its
 * channels last. */
#ifndef BIRD_NN_BLOCK_END_STEPS_H
#define BIRD_NN_BLOCK_END_STEPS_H

#include <stddef.h>

#include "nn/plan.h"

/* values: dst, src, shortcut (n, channels, pixels); mean, var, scale, shift (channels), float32. */
bird_status bird_block_end_forward_f32(bird_plan *plan, size_t n, size_t channels, size_t pixels,
                                       float eps, const bird_value values[7], bird_error *err);
bird_status bird_block_end_forward_bf16(bird_plan *plan, size_t n, size_t channels, size_t pixels,
                                        float eps, const bird_value values[7], bird_error *err);

/* values: a, which becomes the gradient, dst, and where n_values is 3 also b; `count` numbers. */
bird_status bird_block_end_backward_f32(bird_plan *plan, size_t count, size_t channels,
                                        int n_values, const bird_value *values, bird_error *err);
bird_status bird_block_end_backward_bf16(bird_plan *plan, size_t count, int n_values,
                                         const bird_value *values, bird_error *err);

#endif
