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

/* Output side of an input side. */
int bird_conv_out(const bird_conv *conv, int in);

/* dst = conv(src) + bias, plus `residual` (n, oc, oh, ow) unless BIRD_NO_VALUE, then ReLU
 * where `relu`, in the type of `src`. The residual's bytes are overwritten by dst: this must be
 * its last use. Weights and bias are `packed`'s number `key`. Inference only. */
bird_status bird_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                bird_value residual, const bird_conv *conv, bool relu,
                                bird_packed *packed, int key, bird_error *err);

#endif
