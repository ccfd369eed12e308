/* 3x3 convolutions with stride 1 by nn/winograd4.h and nn/winograd.h, as steps of a plan:
 * inference, and by the latter, for AVX2, the way back of training. nn/conv_table.h says where they
 * take the place of oneDNN's. The channels must be such as those take; for the gradient of the
 * data, in both directions.
 */
#ifndef BIRD_NN_CONV_WINOGRAD_H
#define BIRD_NN_CONV_WINOGRAD_H

#include <stdbool.h>

#include "nn/conv.h"

/* As bird_conv_inference, without a residual: F(4x4), on the layout of nn/conv_table.h, and F(2x2),
 * on nChw8c. */
bird_status bird_winograd4_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                          const bird_conv *conv, bool relu, bird_packed *packed,
                                          int key, bird_error *err);
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
