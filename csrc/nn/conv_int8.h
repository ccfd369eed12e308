/* Inference convolutions in int8: src and dst are bytes, weights have eight bits and one scale per
 * filter. Sums are exact, in 32 bits. Bias, residual and ReLU are applied in float32, and the
 * result is rounded once. */
#ifndef BIRD_NN_CONV_INT8_H
#define BIRD_NN_CONV_INT8_H

#include "nn/bytes.h"
#include "nn/conv.h"

/* Append dst = conv(src) + bias, plus `residual` unless it is NULL, then ReLU if `relu`. Values
 * outside -range .. range are clipped. dst takes over the bytes of `residual`, so this must be the
 * last use of `residual`. Weights and bias are entry `key` of `packed`. */
bird_status bird_conv_int8(bird_plan *plan, bird_bytes *dst, const bird_bytes *src,
                           const bird_bytes *residual, const bird_conv *conv, bool relu,
                           float range, bird_packed *packed, int key, bird_error *err);

#endif
