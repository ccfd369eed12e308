/* One optimizer step on slabs: SGD with momentum, or AdamW, with the formulas of torch.optim. */
#ifndef BIRD_TRAIN_OPTIMIZER_H
#define BIRD_TRAIN_OPTIMIZER_H

#include <stdbool.h>

#include "model/params.h"

typedef enum bird_optimizer_kind { BIRD_SGD, BIRD_ADAMW } bird_optimizer_kind;

typedef struct bird_optimizer {
    bird_optimizer_kind kind;
    float momentum; /* SGD */
    bool nesterov;  /* SGD */
    float beta1, beta2; /* AdamW; at least 0 and below 1: with 1, the step would divide 0 by 0 */
    float eps;          /* AdamW; above 0, because a gradient that was always 0 is divided by eps
                         * only */
    float grad_scale;   /* multiplies every gradient first, for clipping */
} bird_optimizer;

/* Slabs of one layout; borrowed from the trainer. */
typedef struct bird_moments {
    float *params;      /* updated */
    const float *grads;
    float *first;  /* momentum buffer, or running mean of the gradient; updated */
    float *second; /* AdamW: running mean of its square; updated */
} bird_moments;

/* Update every trainable tensor, `step` counting from 1.
 *
 * SGD (torch.optim.SGD, dampening 0): g += wd p; first = step 1 ? g : momentum first + g;
 * p -= lr (nesterov ? g + momentum first : first).
 * AdamW (Loshchilov & Hutter 2019): p -= lr wd p; first, second the running means;
 * p -= lr / (1 - beta1^step) first / (sqrt(second) / sqrt(1 - beta2^step) + eps).
 *
 * `lr`, `weight_decay` (params->n): one number per tensor; `trainable` (params->n). */
void bird_optimizer_step(const bird_optimizer *optimizer, bird_moments slabs,
                         const bird_params *params, const bool *trainable, const float *lr,
                         const float *weight_decay, long step, int n_threads);

/* Set average = decay average + (1 - decay) values, over a whole slab. */
void bird_ema_step(float *average, const float *values, size_t count, float decay);

#endif
