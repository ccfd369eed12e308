/* The forward pass of a training plan.
 *
 * Kept for the backward pass: the output of every convolution, the end of every block, and the ReLU
 * masks (one bit or byte per number). The ReLU outputs inside a block are computed again from the
 * convolution's output, which saves a third of the memory and takes two per cent more time.
 */
#include "model/training_plan_internal.h"
#include "nn/residual_relu.h"
#include "nn/channel_moments.h"
#include "nn/conv_training.h"

/* A tensor on its way through the network. */
typedef struct flow {
    bird_value value;
    int c, h, w;
} flow;

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

/* Append at = conv(at), and fill its tape with what its batch norm needs. */
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

/* Append at = relu?(bn(conv(at))). */
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
    const bird_block *block = &build->net->blocks[number];
    const int last = block->convs[block->n_convs - 1];
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
    for (int i = 0; i < block->n_convs - 1; i++)
        BIRD_TRY(conv_bn(build, at, block->convs[i], true, err));
    BIRD_TRY(conv(build, at, last, false, err));
    BIRD_TRY(bird_residual_relu_forward(build->plan, &tape->end, at->value, shortcut.value,
                                        &build->convs[last].bn, err));
    at->value = tape->end;
cleanup:
    return status;
}

bird_status bird_training_push_forward(builder *build, bird_value *features, bird_value input,
                                       bird_error *err) {
    bird_status status = BIRD_OK;
    flow at = {.c = 3, .h = build->key.size, .w = build->key.size};
    bird_value pooled;

    BIRD_TRY(bird_in_precision(build->plan, &at.value, input, build->key.precision, err));
    BIRD_TRY(stem_forward(build, &at, err));
    for (int i = 0; i < build->net->n_blocks; i++) BIRD_TRY(block_forward(build, &at, i, err));
    build->global_pool = (bird_pool){.n = build->key.batch, .c = at.c, .ih = at.h, .iw = at.w,
                                     .kernel = at.h, .stride = at.h, .oh = 1, .ow = 1};
    /* Features are float32, so the averages are computed in float32 too. */
    BIRD_TRY(bird_in_precision(build->plan, &at.value, at.value, BIRD_FLOAT32, err));
    BIRD_TRY(bird_average_pool_forward(build->plan, &pooled, at.value, &build->global_pool, err));
    BIRD_TRY(bird_plan_output(build->plan, features, pooled, err));
cleanup:
    return status;
}
