/* The part of bytes.h that operations use: what a step needs to read or write bytes. */
#ifndef BIRD_NN_BYTES_BUILD_H
#define BIRD_NN_BYTES_BUILD_H

#include "nn/bytes.h"
#include "nn/engine.h"
#include "nn/plan_build.h"

/* Let the attribute of a step expect the scale and, unless it is 0, the zero point of its argument
 * `whose`, which is bytes. */
bird_status bird_bytes_expect(dnnl_primitive_attr_t attr, const bird_bytes *bytes, int whose,
                              bird_error *err);

/* Append both to args, which has room for them. */
bird_status bird_bytes_append(bird_plan *plan, bird_arg *args, int *n_args,
                              const bird_bytes *bytes, int whose, bird_error *err);

#endif
