/* Tensors of bytes, for int8 inference: value = (byte - zero) * scale. */
#ifndef BIRD_NN_BYTES_H
#define BIRD_NN_BYTES_H

#include <stdbool.h>

#include "nn/plan.h"

typedef struct bird_bytes {
    bird_value value; /* (n, c, h, w), unsigned, nhwc */
    float scale;
    int zero; /* 128 where values may be negative, else 0 */
} bird_bytes;

/* What holds numbers as far as `range` from 0, on one side of it or, `both`, on either. The value
 * is left to the caller. */
bird_bytes bird_bytes_for(float range, bool both);

/* The nearest bytes to what `from`, float32, holds; none of it is negative. */
bird_status bird_bytes_of(bird_plan *plan, bird_bytes *bytes, bird_value from, float range,
                          bird_error *err);

/* What bytes with zero 0 stand for, as float32. */
bird_status bird_bytes_values(bird_plan *plan, bird_value *values, const bird_bytes *bytes,
                              bird_error *err);

#endif
