/* The weights of convolutions in the layouts that the kernels need; each layout is made only once.
 *
 * Several plans (batch 8, batch 1, other thread counts) share one store. The store asks its owner
 * for the plain weights when it needs them, and does not keep them.
 *
 * A store may be created and destroyed on any thread. Only the compute thread fills it.
 */
#ifndef BIRD_NN_PACKED_H
#define BIRD_NN_PACKED_H

#include "base/status.h"

typedef struct bird_packed bird_packed;

/* Write the weights (n, ic, kh, kw) and biases (n) of filters first .. first+n-1 of convolution
 * `key`. `weights` and `bias` may each be NULL (not needed). Several threads call this at the same
 * time. */
typedef void (*bird_plain_fn)(const void *owner, int key, int first, int n, float *weights,
                              float *bias);

/* Create a store for keys 0 .. n_keys-1. `owner` is borrowed and must outlive the store. */
bird_status bird_packed_create(bird_packed **packed, int n_keys, bird_plain_fn plain,
                               const void *owner, bird_error *err);

void bird_packed_destroy(bird_packed *packed); /* NULL is fine */

/* Free what was needed only to make the layouts, and tell the operating system that the weights
 * stay (bird_alloc_settle). Call this when a plan has been built. */
void bird_packed_settle(bird_packed *packed);

#endif
