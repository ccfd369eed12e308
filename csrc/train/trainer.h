/* A network in training: slabs of parameters, gradients and moments, and the parts of a step.
 *
 * A step is forward, loss, backward, apply. Parameters, moments and running statistics do not
 * change before apply, so a step can be abandoned at any point. One thread at a time.
 */
#ifndef BIRD_TRAIN_TRAINER_H
#define BIRD_TRAIN_TRAINER_H

#include "base/cancel.h"
#include "model/training_plan.h"
#include "model/weights.h"
#include "train/optimizer.h"

typedef struct bird_trainer bird_trainer;

/* Create a trainer whose parameters are all zero. Fill them through bird_trainer_slab before the
 * first step. */
bird_status bird_trainer_create(bird_trainer **trainer, const bird_resnet_spec *spec,
                                int num_classes, bird_error *err);

void bird_trainer_destroy(bird_trainer *trainer); /* NULL is fine */

/* Return the network, borrowed from the trainer. */
const bird_resnet *bird_trainer_net(const bird_trainer *trainer);

typedef enum bird_slab {
    BIRD_SLAB_PARAMS,
    BIRD_SLAB_GRADS,
    BIRD_SLAB_FIRST,  /* momentum; NULL before the first step */
    BIRD_SLAB_SECOND, /* of AdamW; NULL before its first step */
    BIRD_SLAB_EMA     /* NULL if no average is kept */
} bird_slab;

/* Return a slab in the layout of the network, borrowed from the trainer; NULL if there is none. */
float *bird_trainer_slab(const bird_trainer *trainer, bird_slab which);

/* The same, but create the slab (all zero) if it does not exist. */
bird_status bird_trainer_need_slab(bird_trainer *trainer, float **slab, bird_slab which,
                                   bird_error *err);

/* Free moments or the average; it is NULL afterwards. */
void bird_trainer_drop_slab(bird_trainer *trainer, bird_slab which);

/* Set the trainable parameters (`trainable` (net->params.n); never running statistics) and the
 * options of training. The default precision is float32. Drops plans. */
void bird_trainer_configure(bird_trainer *trainer, bird_bn_mode bn, const bool *trainable,
                            float bn_momentum, bird_precision precision);
const bool *bird_trainer_trainable(const bird_trainer *trainer);

/* Return the number of rows of the last forward pass; 0 before the first. */
int bird_trainer_batch(const bird_trainer *trainer);

/* Return or set the number of optimizer steps done. */
long bird_trainer_steps(const bird_trainer *trainer);
void bird_trainer_set_steps(bird_trainer *trainer, long steps);

/* Compute features (n, num_features) of pixels (n, 3, size, size) in training mode. All are NaN if
 * a pixel, a parameter or a batch statistic is not finite. */
bird_status bird_trainer_forward(bird_trainer *trainer, float *features, const float *pixels,
                                 int n, int size, int n_threads, bird_cancel *cancel,
                                 bird_error *err);

/* Compute the loss of the features of the last forward pass for targets (n, classes) and weights
 * (n) or NULL, and logits (n, classes). */
bird_status bird_trainer_loss(bird_trainer *trainer, double *loss, float *logits,
                              const float *targets, const float *weights, bird_error *err);

/* Compute the gradients of scale (loss + <features, diff_features>), diff_features (n,
 * num_features) or NULL. With `accumulate` they are added to the existing ones, otherwise they
 * replace them. Without a loss since the last forward pass, only diff_features is used. */
bird_status bird_trainer_backward(bird_trainer *trainer, const float *diff_features,
                                  bool accumulate, float scale, bird_cancel *cancel,
                                  bird_error *err);

/* Do one optimizer step; `lr` and `weight_decay` have net->params.n numbers. Commits the running
 * statistics of the forward passes since the last step, and updates the average (decay 0: no
 * average). */
bird_status bird_trainer_apply(bird_trainer *trainer, const bird_optimizer *optimizer,
                               const float *lr, const float *weight_decay, float ema_decay,
                               int n_threads, bird_error *err);

/* Return the number of bytes of slabs and plans. */
size_t bird_trainer_size(const bird_trainer *trainer);

#endif
