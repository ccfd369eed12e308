/* Tensors of bytes, for int8 inference: value = (byte - zero) * scale. */
#ifndef BIRD_NN_BYTES_H
#define BIRD_NN_BYTES_H

#include <stdbool.h>

#include "nn/plan.h"

typedef struct bird_bytes {
    bird_value value; /* (n, c, h, w), unsigned, nhwc */
    float scale;
    int zero; /* 128 if values may be negative, else 0 */
} bird_bytes;

/* Return scale and zero for numbers from 0 to `range` or, with `both`, from -range to range. The
 * caller sets the value. */
bird_bytes bird_bytes_for(float range, bool both);

/* Append a step that rounds `from` (float32) to the nearest bytes. Without `both`, negative values
 * become 0. */
bird_status bird_bytes_of(bird_plan *plan, bird_bytes *bytes, bird_value from, float range,
                          bool both, bird_error *err);

/* Append a step that converts bytes to float32. */
bird_status bird_bytes_values(bird_plan *plan, bird_value *values, const bird_bytes *bytes,
                              bird_error *err);

#endif
