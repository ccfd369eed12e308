/* Inference convolutions in int8: bytes in, bytes out, weights of eight bits with a scale a filter.
 * Sums are exact, in 32 bits; bias, residual and ReLU are float32, rounded once. */
#ifndef BIRD_NN_CONV_INT8_H
#define BIRD_NN_CONV_INT8_H

#include "nn/bytes.h"
#include "nn/conv.h"

/* dst = conv(src) + bias, plus `residual` unless NULL, then ReLU where `relu`. What lies further
 * than `range` from 0 becomes the range's end. The residual's bytes are overwritten by dst: this
 * must be its last use. Weights and bias are `packed`'s number `key`. */
bird_status bird_conv_int8(bird_plan *plan, bird_bytes *dst, const bird_bytes *src,
                           const bird_bytes *residual, const bird_conv *conv, bool relu,
                           float range, bird_packed *packed, int key, bird_error *err);

#endif
