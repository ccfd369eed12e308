/* What the two halves of a training plan share while it is built: the forward pass fills the tapes,
 * the backward pass reads them. Only for model/training*_plan.c. */
#ifndef BIRD_MODEL_TRAINING_PLAN_INTERNAL_H
#define BIRD_MODEL_TRAINING_PLAN_INTERNAL_H

#include "model/training_plan.h"
#include "nn/batchnorm.h"
#include "nn/conv.h"
#include "nn/plan.h"
#include "nn/pool.h"

/* What the backward pass of relu?(bn(conv(src))) needs from the forward pass. "relu?" means: a ReLU
 * if the tape says so. */
typedef struct conv_tape {
    bird_conv shape;
    bird_batchnorm bn;
    bird_value src;  /* input of the convolution, if it is kept; else recomputed */
    bird_value conv; /* its output */
    bird_value mask; /* of the ReLU */
    bird_value weights;
} conv_tape;

typedef struct block_tape {
    bird_value end; /* the block's output */
    bird_pool pool; /* of the shortcut, if it pools */
} block_tape;

typedef struct builder {
    bird_plan *plan;        /* borrowed from the plan being made */
    const bird_resnet *net; /* borrowed from the caller */
    bird_training_key key;
    bird_training_slabs slabs;
    const bool *trainable; /* borrowed from the caller (net->params.n) */
    int first_trainable;   /* the first conv with a trainable parameter */
    conv_tape convs[BIRD_MAX_CONVS];
    block_tape blocks[BIRD_MAX_BLOCKS];
    bird_value stem_end, stem_winners;
    bird_pool stem_pool, global_pool;
} builder;

/* Return the position of a parameter in a slab. */
static inline float *in_slab(const builder *build, float *slab, int param) {
    return slab + build->net->params.items[param].offset;
}

/* Push the forward pass and fill the tapes; `features` is an output. */
bird_status bird_training_push_forward(builder *build, bird_value *features, bird_value input,
                                       bird_error *err);

/* Push the backward pass down to the first trainable convolution. */
bird_status bird_training_push_backward(builder *build, bird_value diff_features,
                                        bird_error *err);

#endif
