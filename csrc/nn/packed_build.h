/* The part of packed.h that operations use. Compute thread only. */
#ifndef BIRD_NN_PACKED_BUILD_H
#define BIRD_NN_PACKED_BUILD_H

#include "nn/engine.h"
#include "nn/packed.h"

/* Write (oc, ic, kh, kw) weights in the form that one of our own operations reads. */
typedef void (*bird_weights_transform)(float *to, const float *plain, int oc, int ic,
                                       int n_threads);

/* Return the weights of convolution `key` in layout `md`, and its bias. If the store does not have
 * them yet, they are made by `transform`, or by a reorder if `transform` is NULL. `plain_md`
 * describes the same weights as float32 in plain oihw order. If `md` is int8, *scales (oc) receives
 * the step size of each filter; `scales` may be NULL (not needed). All results are borrowed from
 * the store. */
bird_status bird_packed_get(bird_packed *packed, void **weights, float **bias, float **scales,
                            int key, const_dnnl_memory_desc_t md,
                            const_dnnl_memory_desc_t plain_md, bird_weights_transform transform,
                            bird_error *err);

#endif
