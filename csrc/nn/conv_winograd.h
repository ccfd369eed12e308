/* 3x3 convolutions with stride 1 by nn/winograd.h, as steps of a plan: inference, and the way
 * back of training. For AVX2; nn/conv_table.h says where they take the place of oneDNN's. The
 * channels must be such as nn/winograd.h takes; for the gradient of the data, in both directions.
 */
#ifndef BIRD_NN_CONV_WINOGRAD_H
#define BIRD_NN_CONV_WINOGRAD_H

#include <stdbool.h>

#include "nn/conv.h"

/* As bird_conv_inference, without a residual. */
bird_status bird_winograd_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                         const bird_conv *conv, bool relu, bird_packed *packed,
                                         int key, bird_error *err);

/* As the two of nn/conv_training.h, in float32; weights and their gradient are plain. Training's
 * forward pass has none: see there. */
bird_status bird_winograd_conv_backward_data(bird_plan *plan, bird_value *diff_src,
                                             bird_value diff_dst, bird_value weights,
                                             const bird_conv *conv, bird_error *err);
bird_status bird_winograd_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                                bird_value diff_dst, bird_value src,
                                                const bird_conv *conv, bird_error *err);

#endif
