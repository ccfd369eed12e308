/* 2-d convolution with square kernels, equal strides and symmetric padding. */
#ifndef BIRD_NN_CONV_H
#define BIRD_NN_CONV_H

#include <stdbool.h>

#include "nn/packed.h"
#include "nn/plan.h"

typedef struct bird_conv {
    int n, ic, ih, iw;       /* src (n, ic, ih, iw) */
    int oc;                  /* dst (n, oc, oh, ow) */
    int kernel, stride, pad; /* in pixels */
} bird_conv;

/* Return the side length of the output for an input of side `in`. */
int bird_conv_out(const bird_conv *conv, int in);

/* Append dst = conv(src) + bias, plus `residual` (n, oc, oh, ow) unless it is BIRD_NO_VALUE,
 * then ReLU if `relu`, in the data type of `src`. dst may take over the bytes of `residual`, so
 * this must be the last use of `residual`. Weights and bias are entry `key` of `packed`.
 * Inference only. */
bird_status bird_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                bird_value residual, const bird_conv *conv, bool relu,
                                bird_packed *packed, int key, bird_error *err);

#endif
