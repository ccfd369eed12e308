/* The convolutions of nn/split.h as steps of a plan. nn/conv_table.h says which ones use them
 * instead of oneDNN's kernels or Winograd's. */
#ifndef BIRD_NN_CONV_SPLIT_H
#define BIRD_NN_CONV_SPLIT_H

#include <stdbool.h>

#include "nn/conv.h"

/* Like bird_conv_inference, in float32 and nhwc. */
bird_status bird_split_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                      bird_value residual, const bird_conv *conv, bool relu,
                                      bird_packed *packed, int key, bird_error *err);

#endif
