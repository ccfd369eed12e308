/* Convolution without bias for training: forward pass, and backward passes for data and weights.
 *
 * Weights and their gradient are plain (oc, ic, kh, kw), as in the parameter slab; the steps
 * convert them to the kernels' layouts and back.
 */
#ifndef BIRD_NN_CONV_TRAINING_H
#define BIRD_NN_CONV_TRAINING_H

#include "nn/conv.h"

/* Append dst (n, oc, oh, ow) = conv(src (n, ic, ih, iw)). */
bird_status bird_conv_forward(bird_plan *plan, bird_value *dst, bird_value src,
                              bird_value weights, const bird_conv *conv, bird_error *err);

/* Append diff_src (n, ic, ih, iw) from diff_dst (n, oc, oh, ow). */
bird_status bird_conv_backward_data(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                                    bird_value weights, const bird_conv *conv, bird_error *err);

/* Append diff_weights (oc, ic, kh, kw), an external value in plain order that is overwritten. */
bird_status bird_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                       bird_value diff_dst, bird_value src,
                                       const bird_conv *conv, bird_error *err);

#endif
