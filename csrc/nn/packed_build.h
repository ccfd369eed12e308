/* The side of packed.h that operations see. Compute thread only. */
#ifndef BIRD_NN_PACKED_BUILD_H
#define BIRD_NN_PACKED_BUILD_H

#include "nn/engine.h"
#include "nn/packed.h"

/* Write (oc, ic, kh, kw) weights in the form that an operation of ours reads. */
typedef void (*bird_weights_transform)(float *to, const float *plain, int oc, int ic,
                                       int n_threads);

/* Convolution `key`'s weights in layout `md` and its bias, made now if they are not there: by a
 * reorder, or by `transform` unless that is NULL. `plain_md` is the same weights, float32, in
 * plain oihw order. Where `md` is of int8, *scales (oc) is what a step of each filter's weights is
 * worth; `scales` NULL: not wanted. Borrowed from the store. */
bird_status bird_packed_get(bird_packed *packed, void **weights, float **bias, float **scales,
                            int key, const_dnnl_memory_desc_t md,
                            const_dnnl_memory_desc_t plain_md, bird_weights_transform transform,
                            bird_error *err);

#endif
