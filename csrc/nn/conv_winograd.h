/* 3x3 convolutions with stride 1 as steps of a plan: inference with nn/winograd4.h or
 * nn/winograd.h, and the backward passes of training with nn/winograd.h, for AVX2. nn/conv_table.h
 * says which convolutions use them instead of oneDNN. The channel counts must be multiples as those
 * headers require; for the gradient of the data, with ic and oc exchanged too.
 */
#ifndef BIRD_NN_CONV_WINOGRAD_H
#define BIRD_NN_CONV_WINOGRAD_H

#include <stdbool.h>

#include "nn/conv.h"

/* Like bird_conv_inference, without a residual: F(4x4), in the layout that nn/conv_table.h chooses,
 * and F(2x2), in nChw8c. */
bird_status bird_winograd4_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                          const bird_conv *conv, bool relu, bird_packed *packed,
                                          int key, bird_error *err);
bird_status bird_winograd_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                         const bird_conv *conv, bool relu, bird_packed *packed,
                                         int key, bird_error *err);

/* Like the two backward functions of nn/conv_training.h, in float32. Weights and their gradient are
 * in plain order. There is no forward pass for training; nn/conv_training.c says why. */
bird_status bird_winograd_conv_backward_data(bird_plan *plan, bird_value *diff_src,
                                             bird_value diff_dst, bird_value weights,
                                             const bird_conv *conv, bird_error *err);
bird_status bird_winograd_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                                bird_value diff_dst, bird_value src,
                                                const bird_conv *conv, bird_error *err);

#endif
