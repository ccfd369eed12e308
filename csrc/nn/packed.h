/* The weights of convolutions in the layouts that kernels want, each made once.
 *
 * Several plans (batch 8, batch 1, other thread counts) share one store. The plain weights
 * come from the owner on demand and are not kept.
 *
 * Created and destroyed anywhere; filled on the compute thread only.
 */
#ifndef BIRD_NN_PACKED_H
#define BIRD_NN_PACKED_H

#include <stddef.h>

#include "base/status.h"

typedef struct bird_packed bird_packed;

/* Write convolution `key`'s weights (oc, ic, kh, kw) and bias (oc), either of which may be
 * NULL (not wanted). */
typedef void (*bird_plain_fn)(const void *owner, int key, float *weights, float *bias);

/* A store for keys 0 .. n_keys-1. `owner` is borrowed and outlives the store. */
bird_status bird_packed_create(bird_packed **packed, int n_keys, bird_plain_fn plain,
                               const void *owner, bird_error *err);

void bird_packed_destroy(bird_packed *packed); /* NULL is fine */

/* Bytes held. */
size_t bird_packed_size(const bird_packed *packed);

#endif
