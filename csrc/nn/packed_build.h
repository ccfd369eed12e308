/* The side of packed.h that operations see. Compute thread only. */
#ifndef BIRD_NN_PACKED_BUILD_H
#define BIRD_NN_PACKED_BUILD_H

#include "nn/engine.h"
#include "nn/packed.h"

/* Convolution `key`'s weights in layout `md` and its bias, made now if they are not there.
 * `plain_md` is the same weights in plain oihw order. Borrowed from the store. */
bird_status bird_packed_get(bird_packed *packed, void **weights, float **bias, int key,
                            const_dnnl_memory_desc_t md, const_dnnl_memory_desc_t plain_md,
                            bird_error *err);

#endif
