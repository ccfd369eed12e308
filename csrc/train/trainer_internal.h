/* The internals of a trainer, only for train/trainer*.c. */
#ifndef BIRD_TRAIN_TRAINER_INTERNAL_H
#define BIRD_TRAIN_TRAINER_INTERNAL_H

#include "train/trainer.h"

enum { MAX_PLANS = 2, N_SLABS = BIRD_SLAB_EMA + 1 };

struct bird_trainer {
    bird_resnet *net; /* owned */
    size_t count;     /* floats in a slab */
    float *slabs[N_SLABS]; /* owned (count each); some NULL */
    float *stats;          /* owned (count): statistics of the last batch */
    float *pending;        /* owned (count): running statistics to commit */
    float *sum;            /* owned (count), NULL until gradients are accumulated */
    bool *trainable;       /* owned (net->params.n) */
    bird_bn_mode bn;
    float bn_momentum;
    bird_precision precision;
    long steps;
    bird_training_plan *plans[MAX_PLANS]; /* owned; most recently used first */
    int n_plans;
    /* The last forward pass: */
    bird_training_plan *current; /* borrowed from plans; NULL if there is none */
    int n, size;
    float *features, *diff_features; /* owned (n, num_features) */
    float *diff_logits;              /* owned (n, classes) */
    bool has_loss;
    bool has_pending;
};

/* Update the pending running statistics with those of the batch; as in torch, the variance is made
 * unbiased: n h w / (n h w - 1). */
void bird_trainer_move_statistics(bird_trainer *trainer);

/* Copy the pending running statistics, if there are any, into the parameters. */
void bird_trainer_commit_statistics(bird_trainer *trainer);

#endif
