/* A training plan for one network, batch shape and number of threads: a forward pass that keeps
 * what the backward pass needs, and that backward pass. It goes from pixels to pooled features; the
 * caller computes the head. Compute thread only, except bird_training_plan_destroy.
 */
#ifndef BIRD_MODEL_TRAINING_PLAN_H
#define BIRD_MODEL_TRAINING_PLAN_H

#include <stddef.h>

#include "base/executor.h"
#include "model/resnet.h"
#include "nn/precision.h"

/* The mode of batch norms in training. */
typedef enum bird_bn_mode {
    BIRD_BN_TRAIN,       /* normalise with the statistics of the batch */
    BIRD_BN_FROZEN_STATS, /* running statistics; scale and shift are trained */
    BIRD_BN_FROZEN,      /* running statistics; nothing is trained */
    BIRD_BN_MEASURE      /* running statistics; those of the batch are recorded */
} bird_bn_mode;

typedef struct bird_training_key {
    int batch, size, n_threads; /* pixels (batch, 3, size, size) */
    bird_bn_mode bn;
    bird_precision precision; /* of activations and their gradients; the rest is float32 */
} bird_training_key;

/* Slabs in the layout of the network, borrowed from the trainer, which must outlive the plan. */
typedef struct bird_training_slabs {
    float *params;
    float *grads; /* conv weights, bn weights and biases are overwritten by backward */
    float *stats; /* with BIRD_BN_TRAIN and BIRD_BN_MEASURE, forward writes the batch's mean and
                     variance (divided by n h w) where params has the running ones */
} bird_training_slabs;

typedef struct bird_training_plan bird_training_plan;

/* Return whether BIRD_BN_TRAIN applies to this batch norm. If neither scale nor shift is trained,
 * it is frozen: it keeps its running statistics and normalises with them, as in inference. */
bool bird_training_moves_statistics(const bird_conv_bn *unit, const bool *trainable);

/* Create a plan. `trainable` (net->params.n) marks the parameters that need a gradient; borrowed
 * for the call. The backward pass stops at the first of them. */
bird_status bird_training_plan_create(bird_training_plan **plan, const bird_resnet *net,
                                      bird_training_key key, bird_training_slabs slabs,
                                      const bool *trainable, bird_error *err);

void bird_training_plan_destroy(bird_training_plan *plan); /* NULL is fine */

bool bird_training_plan_fits(const bird_training_plan *plan, bird_training_key key);

/* Compute features (batch, num_features) from pixels (batch, 3, size, size), which are copied. */
bird_status bird_training_plan_forward(bird_training_plan *plan, float *features,
                                       const float *pixels, bird_job *job, bird_error *err);

/* Compute the gradients of the last forward pass from diff_features (batch, num_features). */
bird_status bird_training_plan_backward(bird_training_plan *plan, const float *diff_features,
                                        bird_job *job, bird_error *err);

/* Return the number of bytes of activations and scratch. */
size_t bird_training_plan_size(const bird_training_plan *plan);

#endif
