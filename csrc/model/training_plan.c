/* Implementation notes.
 *
 * Kept between forward and backward: the output of every convolution, the end of every
 * block, the ReLU masks (a bit or a byte a number). The ReLU outputs inside a block are
 * worked out again from the convolution's output, which saves a third of the memory for two
 * per cent of the time.
 */
#include "model/training_plan.h"

#include <string.h>

#include "base/alloc.h"
#include "nn/batchnorm.h"
#include "nn/block_end.h"
#include "nn/channel_moments.h"
#include "nn/conv_training.h"
#include "nn/plan.h"
#include "nn/isa.h"
#include "nn/pool.h"

/* What forward leaves for backward of relu?(bn(conv(src))). */
typedef struct conv_tape {
    bird_conv shape;
    bird_batchnorm bn;
    bird_value src;  /* of the convolution; only where it is kept, else worked out again */
    bird_value conv; /* its output */
    bird_value mask; /* of the ReLU */
    bird_value weights;
} conv_tape;

typedef struct block_tape {
    bird_value end; /* the block's output */
    bird_pool pool; /* of the shortcut, where it has one */
} block_tape;

struct bird_training_plan {
    bird_training_key key;
    bird_plan *plan; /* owned */
    float *pixels;   /* owned (batch, 3, size, size): backward reads them again */
    float *diff;     /* owned (batch, num_features) */
    size_t n_pixels, n_features;
    bird_value features;
    int split; /* steps before it are the forward pass */
};

typedef struct builder {
    bird_plan *plan;        /* borrowed from the plan being made */
    const bird_resnet *net; /* borrowed from the caller */
    bird_training_key key;
    bird_training_slabs slabs;
    const bool *trainable; /* borrowed from the caller (net->params.n) */
    int first_trainable;   /* the first conv of which a parameter is trainable */
    conv_tape convs[BIRD_MAX_CONVS];
    block_tape blocks[BIRD_MAX_BLOCKS];
    bird_value stem_end, stem_winners;
    bird_pool stem_pool, global_pool;
} builder;

/* A tensor on its way through the network. */
typedef struct flow {
    bird_value value;
    int c, h, w;
} flow;

static float *in_slab(const builder *build, float *slab, int param) {
    return slab + build->net->params.items[param].offset;
}

/* --- forward ------------------------------------------------------------------------- */

static bird_status bn_values(builder *build, conv_tape *tape, const bird_conv_bn *unit, bool relu,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    bool fixed =
        build->key.bn != BIRD_BN_TRAIN || !bird_training_moves_statistics(unit, build->trainable);
    float *stats = fixed ? build->slabs.params : build->slabs.stats;
    bird_batchnorm *bn = &tape->bn;

    *bn = (bird_batchnorm){.relu = relu, .fixed = fixed, .eps = BIRD_BN_EPS};
    BIRD_TRY(bird_plan_vector(build->plan, &bn->scale, unit->oc,
                              in_slab(build, build->slabs.params, unit->bn), err));
    BIRD_TRY(bird_plan_vector(build->plan, &bn->shift, unit->oc,
                              in_slab(build, build->slabs.params, unit->bn + 1), err));
    BIRD_TRY(bird_plan_vector(build->plan, &bn->mean, unit->oc,
                              in_slab(build, stats, unit->bn + 2), err));
    BIRD_TRY(bird_plan_vector(build->plan, &bn->var, unit->oc,
                              in_slab(build, stats, unit->bn + 3), err));
cleanup:
    return status;
}

/* Write the statistics of a convolution's output to the stats slab. */
static bird_status measure(builder *build, const conv_tape *tape, const bird_conv_bn *unit,
                           bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value mean, var;
    BIRD_TRY(bird_plan_vector(build->plan, &mean, unit->oc,
                              in_slab(build, build->slabs.stats, unit->bn + 2), err));
    BIRD_TRY(bird_plan_vector(build->plan, &var, unit->oc,
                              in_slab(build, build->slabs.stats, unit->bn + 3), err));
    BIRD_TRY(bird_channel_moments(build->plan, mean, var, tape->conv, err));
cleanup:
    return status;
}

/* at = conv(at), and what its batch norm needs is ready in its tape. */
static bird_status conv(builder *build, flow *at, int index, bool relu, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv_bn *unit = &build->net->convs[index];
    conv_tape *tape = &build->convs[index];

    tape->shape = (bird_conv){.n = build->key.batch, .ic = at->c, .ih = at->h, .iw = at->w,
                              .oc = unit->oc, .kernel = unit->kernel, .stride = unit->stride,
                              .pad = unit->pad};
    tape->src = at->value;
    BIRD_TRY(bird_plan_weights(build->plan, &tape->weights, unit->oc, unit->ic, unit->kernel,
                               in_slab(build, build->slabs.params, unit->weight), err));
    BIRD_TRY(bn_values(build, tape, unit, relu, err));
    BIRD_TRY(bird_conv_forward(build->plan, &tape->conv, at->value, tape->weights, &tape->shape,
                               err));
    if (build->key.bn == BIRD_BN_MEASURE) BIRD_TRY(measure(build, tape, unit, err));
    tape->mask = BIRD_NO_VALUE;
    at->value = tape->conv;
    at->c = unit->oc;
    at->h = bird_conv_out(&tape->shape, tape->shape.ih);
    at->w = bird_conv_out(&tape->shape, tape->shape.iw);
cleanup:
    return status;
}

/* at = relu?(bn(conv(at))). */
static bird_status conv_bn(builder *build, flow *at, int index, bool relu, bird_error *err) {
    bird_status status = BIRD_OK;
    conv_tape *tape = &build->convs[index];
    BIRD_TRY(conv(build, at, index, relu, err));
    BIRD_TRY(bird_batchnorm_forward(build->plan, &at->value, &tape->mask, tape->conv, &tape->bn,
                                    err));
cleanup:
    return status;
}

static bird_pool halving(const builder *build, const flow *at, int kernel, int pad) {
    return (bird_pool){.n = build->key.batch, .c = at->c, .ih = at->h, .iw = at->w,
                       .kernel = kernel, .stride = 2, .pad = pad, .oh = (at->h + 1) / 2,
                       .ow = (at->w + 1) / 2};
}

static bird_status stem_forward(builder *build, flow *at, bird_error *err) {
    bird_status status = BIRD_OK;
    for (int i = 0; i < build->net->n_stem; i++)
        BIRD_TRY(conv_bn(build, at, build->net->stem[i], true, err));
    build->stem_pool = halving(build, at, 3, 1);
    BIRD_TRY(bird_max_pool_forward(build->plan, &at->value, &build->stem_winners, at->value,
                                   &build->stem_pool, err));
    at->h = build->stem_pool.oh;
    at->w = build->stem_pool.ow;
cleanup:
    return status;
}

static bird_status block_forward(builder *build, flow *at, int number, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_bottleneck *block = &build->net->blocks[number];
    block_tape *tape = &build->blocks[number];
    flow shortcut = *at;

    if (block->shortcut >= 0) {
        if (block->shortcut_pool) {
            tape->pool = halving(build, at, 2, 0);
            BIRD_TRY(bird_average_pool_forward(build->plan, &shortcut.value, at->value,
                                               &tape->pool, err));
            shortcut.h = tape->pool.oh;
            shortcut.w = tape->pool.ow;
        }
        BIRD_TRY(conv_bn(build, &shortcut, block->shortcut, false, err));
    }
    for (int i = 0; i < 2; i++) BIRD_TRY(conv_bn(build, at, block->convs[i], true, err));
    BIRD_TRY(conv(build, at, block->convs[2], false, err));
    BIRD_TRY(bird_block_end_forward(build->plan, &tape->end, at->value, shortcut.value,
                                    &build->convs[block->convs[2]].bn, err));
    at->value = tape->end;
cleanup:
    return status;
}

static bird_status forward(builder *build, bird_value *features, bird_value input,
                           bird_error *err) {
    bird_status status = BIRD_OK;
    flow at = {.c = 3, .h = build->key.size, .w = build->key.size};
    bird_value pooled;

    BIRD_TRY(bird_training_tensor(build->plan, &at.value, input, build->key.precision, err));
    BIRD_TRY(stem_forward(build, &at, err));
    for (int i = 0; i < build->net->n_blocks; i++) BIRD_TRY(block_forward(build, &at, i, err));
    build->global_pool = (bird_pool){.n = build->key.batch, .c = at.c, .ih = at.h, .iw = at.w,
                                     .kernel = at.h, .stride = at.h, .oh = 1, .ow = 1};
    /* Features are float32, and so is what averages them. */
    BIRD_TRY(bird_training_tensor(build->plan, &at.value, at.value, BIRD_FLOAT32, err));
    BIRD_TRY(bird_average_pool_forward(build->plan, &pooled, at.value, &build->global_pool, err));
    BIRD_TRY(bird_plan_output(build->plan, features, pooled, err));
cleanup:
    return status;
}

/* --- backward ------------------------------------------------------------------------ */

/* diff, the gradient of relu?(bn(conv(src))), becomes that of src where `wanted`. `src` is
 * the convolution's input; `inside` the tape whose ReLU output it is, where it was not kept. */
static bird_status conv_bn_backward(builder *build, bird_value *diff, int index,
                                    const conv_tape *inside, bool wanted, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv_bn *unit = &build->net->convs[index];
    const conv_tape *tape = &build->convs[index];
    bird_value diff_conv, diff_scale, diff_shift, diff_weights, src = tape->src;

    BIRD_TRY(bird_plan_vector(build->plan, &diff_scale, unit->oc,
                              in_slab(build, build->slabs.grads, unit->bn), err));
    BIRD_TRY(bird_plan_vector(build->plan, &diff_shift, unit->oc,
                              in_slab(build, build->slabs.grads, unit->bn + 1), err));
    BIRD_TRY(bird_batchnorm_backward(build->plan, &diff_conv, diff_scale, diff_shift, *diff,
                                     tape->conv, tape->mask, &tape->bn, err));
    if (build->trainable[unit->weight]) {
        if (inside)
            BIRD_TRY(bird_batchnorm_again(build->plan, &src, inside->conv, &inside->bn, err));
        BIRD_TRY(bird_plan_weights(build->plan, &diff_weights, unit->oc, unit->ic, unit->kernel,
                                   in_slab(build, build->slabs.grads, unit->weight), err));
        BIRD_TRY(bird_conv_backward_weights(build->plan, diff_weights, diff_conv, src,
                                            &tape->shape, err));
    }
    if (wanted)
        BIRD_TRY(bird_conv_backward_data(build->plan, diff, diff_conv, tape->weights,
                                         &tape->shape, err));
cleanup:
    return status;
}

/* True where a parameter of a convolution before `index` (in table order) is trainable. */
static bool needed_before(const builder *build, int index) {
    return build->first_trainable < index;
}

/* A gradient that comes by two roads, whose sum it is; the second may be BIRD_NO_VALUE. */
typedef struct roads {
    bird_value through, around;
} roads;

/* The first convolution of a block in table order is its first; its shortcut comes last. */
static bird_status block_backward(builder *build, roads *diff, int number, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_bottleneck *block = &build->net->blocks[number];
    const block_tape *tape = &build->blocks[number];
    const bool wanted = needed_before(build, block->convs[0]);
    bird_value end_diff;

    BIRD_TRY(bird_block_end_backward(build->plan, &end_diff, diff->through, diff->around,
                                     tape->end, err));
    diff->through = diff->around = end_diff;
    for (int i = 2; i >= 0; i--) {
        const conv_tape *inside = i > 0 ? &build->convs[block->convs[i - 1]] : NULL;
        if (i < 2 && build->first_trainable > block->convs[i]) break;
        BIRD_TRY(conv_bn_backward(build, &diff->through, block->convs[i], inside,
                                  build->first_trainable < block->convs[i], err));
    }
    if (block->shortcut >= 0) {
        BIRD_TRY(
            conv_bn_backward(build, &diff->around, block->shortcut, NULL, wanted, err));
        if (block->shortcut_pool && wanted)
            BIRD_TRY(bird_average_pool_backward(build->plan, &diff->around, diff->around,
                                                &tape->pool, err));
    }
cleanup:
    return status;
}

static bird_status stem_backward(builder *build, const roads *both, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value diff;
    BIRD_TRY(bird_add(build->plan, &diff, both->through, both->around, err));
    BIRD_TRY(bird_max_pool_backward(build->plan, &diff, diff, build->stem_winners,
                                    &build->stem_pool, err));
    for (int i = build->net->n_stem - 1; i >= 0; i--) {
        int index = build->net->stem[i];
        const conv_tape *inside = i > 0 ? &build->convs[build->net->stem[i - 1]] : NULL;
        if (build->first_trainable > index) break;
        BIRD_TRY(
            conv_bn_backward(build, &diff, index, inside, needed_before(build, index), err));
    }
cleanup:
    return status;
}

static bird_status backward(builder *build, bird_value diff_features, bird_error *err) {
    bird_status status = BIRD_OK;
    roads diff = {.around = BIRD_NO_VALUE};

    if (build->first_trainable >= build->net->n_convs) return BIRD_OK;
    BIRD_TRY(bird_average_pool_backward(build->plan, &diff.through, diff_features,
                                        &build->global_pool, err));
    for (int i = build->net->n_blocks - 1; i >= 0; i--) {
        const bird_bottleneck *block = &build->net->blocks[i];
        int last = block->shortcut >= 0 ? block->shortcut : block->convs[2];
        if (build->first_trainable > last) return BIRD_OK;
        BIRD_TRY(block_backward(build, &diff, i, err));
    }
    if (build->first_trainable <= build->net->stem[build->net->n_stem - 1])
        BIRD_TRY(stem_backward(build, &diff, err));
cleanup:
    return status;
}

/* --- the plan ------------------------------------------------------------------------ */

bool bird_training_moves_statistics(const bird_conv_bn *unit, const bool *trainable) {
    return trainable[unit->bn] || trainable[unit->bn + 1];
}

static int find_first_trainable(const bird_resnet *net, const bool *trainable) {
    for (int i = 0; i < net->n_convs; i++) {
        const bird_conv_bn *unit = &net->convs[i];
        if (trainable[unit->weight] || trainable[unit->bn] || trainable[unit->bn + 1]) return i;
    }
    return net->n_convs;
}

bird_status bird_training_plan_create(bird_training_plan **plan, const bird_resnet *net,
                                      bird_training_key key, bird_training_slabs slabs,
                                      const bool *trainable, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_training_plan *made = bird_calloc(1, sizeof *made);
    builder *build = bird_calloc(1, sizeof *build);
    bird_value input, diff_features;

    *plan = NULL;
    if (key.precision == BIRD_BFLOAT16 && !bird_isa_has_bf16())
        BIRD_FAIL(BIRD_BACKEND, "training in bfloat16 needs a processor with AVX512_BF16 or AMX, "
                                "and oneDNN finds %s here: train in float32", bird_isa_name());
    if (!made || !build) BIRD_FAIL(BIRD_NOMEM, "out of memory for a training plan");
    made->key = key;
    made->n_pixels = (size_t)key.batch * 3 * (size_t)key.size * (size_t)key.size;
    made->n_features = (size_t)key.batch * (size_t)net->num_features;
    made->pixels = bird_alloc(made->n_pixels * sizeof *made->pixels);
    made->diff = bird_alloc(made->n_features * sizeof *made->diff);
    if (!made->pixels || !made->diff) BIRD_FAIL(BIRD_NOMEM, "out of memory for a training plan");

    BIRD_TRY(bird_plan_create(&made->plan, key.n_threads, err));
    build->plan = made->plan;
    build->net = net;
    build->key = key;
    build->slabs = slabs;
    build->trainable = trainable;
    build->first_trainable = find_first_trainable(net, trainable);
    BIRD_TRY(bird_plan_input(made->plan, &input, key.batch, 3, key.size, key.size, err));
    BIRD_TRY(forward(build, &made->features, input, err));
    made->split = bird_plan_length(made->plan);
    BIRD_TRY(bird_plan_input(made->plan, &diff_features, key.batch, net->num_features, 1, 1, err));
    BIRD_TRY(backward(build, diff_features, err));
    BIRD_TRY(bird_plan_finish(made->plan, err));
    BIRD_TRY(bird_plan_bind(made->plan, input, made->pixels, err));
    BIRD_TRY(bird_plan_bind(made->plan, diff_features, made->diff, err));
    *plan = made;
    made = NULL;
cleanup:
    bird_free(build);
    bird_training_plan_destroy(made);
    return status;
}

void bird_training_plan_destroy(bird_training_plan *plan) {
    if (!plan) return;
    bird_plan_destroy(plan->plan);
    bird_free(plan->pixels);
    bird_free(plan->diff);
    bird_free(plan);
}

bool bird_training_plan_fits(const bird_training_plan *plan, bird_training_key key) {
    return plan->key.batch == key.batch && plan->key.size == key.size &&
           plan->key.n_threads == key.n_threads && plan->key.bn == key.bn &&
           plan->key.precision == key.precision;
}

bird_status bird_training_plan_forward(bird_training_plan *plan, float *features,
                                       const float *pixels, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    memcpy(plan->pixels, pixels, plan->n_pixels * sizeof *pixels);
    BIRD_TRY(bird_plan_execute_range(plan->plan, 0, plan->split, job, err));
    memcpy(features, bird_plan_data(plan->plan, plan->features),
           plan->n_features * sizeof *features);
cleanup:
    return status;
}

bird_status bird_training_plan_backward(bird_training_plan *plan, const float *diff_features,
                                        bird_job *job, bird_error *err) {
    memcpy(plan->diff, diff_features, plan->n_features * sizeof *diff_features);
    return bird_plan_execute_range(plan->plan, plan->split, bird_plan_length(plan->plan), job,
                                   err);
}

size_t bird_training_plan_size(const bird_training_plan *plan) {
    return bird_plan_slab_size(plan->plan) +
           (plan->n_pixels + plan->n_features) * sizeof(float);
}
