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

/* Scale and zero for numbers from 0 to `range` or, with `both`, from -range to range. The caller
 * sets the value. */
bird_bytes bird_bytes_for(float range, bool both);

/* Round `from`, which is float32 and not negative, to the nearest bytes. */
bird_status bird_bytes_of(bird_plan *plan, bird_bytes *bytes, bird_value from, float range,
                          bird_error *err);

/* Convert bytes with zero 0 to float32. */
bird_status bird_bytes_values(bird_plan *plan, bird_value *values, const bird_bytes *bytes,
                              bird_error *err);

#endif
