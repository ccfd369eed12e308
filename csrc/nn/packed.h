/* The weights of convolutions in the layouts that kernels want, each made once.
 *
 * Several plans (batch 8, batch 1, other thread counts) share one store. The plain weights
 * come from the owner on demand and are not kept.
 *
 * Created and destroyed anywhere; filled on the compute thread only.
 */
#ifndef BIRD_NN_PACKED_H
#define BIRD_NN_PACKED_H

#include "base/status.h"

typedef struct bird_packed bird_packed;

/* Write the weights (n, ic, kh, kw) and biases (n) of convolution `key`, from the filter at `first`
 * on. Either may be NULL (not wanted). Called by several threads at once. */
typedef void (*bird_plain_fn)(const void *owner, int key, int first, int n, float *weights,
                              float *bias);

/* A store for keys 0 .. n_keys-1. `owner` is borrowed and outlives the store. */
bird_status bird_packed_create(bird_packed **packed, int n_keys, bird_plain_fn plain,
                               const void *owner, bird_error *err);

void bird_packed_destroy(bird_packed *packed); /* NULL is fine */

/* Call it when a plan is built: gives back what was only needed to make forms, and tells the kernel
 * that the forms stay (bird_alloc_settle). */
void bird_packed_settle(bird_packed *packed);

#endif
