/* The backward pass of a training plan: from the gradient of the features back to the first
 * convolution that has a trainable parameter. */
#include "model/training_plan_internal.h"
#include "nn/residual_relu.h"
#include "nn/conv_training.h"

/* Replace diff, the gradient of relu?(bn(conv(src))), by the gradient of src if `wanted`. `src` is
 * the input of the convolution. If it is a ReLU output that was not kept, `inside` is the tape to
 * compute it from, else NULL. */
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

/* Return true if a convolution before `index` (in table order) has a trainable parameter. */
static bool needed_before(const builder *build, int index) {
    return build->first_trainable < index;
}

/* The gradient that arrives on two paths and is their sum. The second may be BIRD_NO_VALUE. */
typedef struct roads {
    bird_value through, around;
} roads;

/* In table order, the first convolution of a block comes first and that of its shortcut last. */
static bird_status block_backward(builder *build, roads *diff, int number, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_block *block = &build->net->blocks[number];
    const int last = block->n_convs - 1;
    const block_tape *tape = &build->blocks[number];
    const bool wanted = needed_before(build, block->convs[0]);
    bird_value end_diff;

    BIRD_TRY(bird_residual_relu_backward(build->plan, &end_diff, diff->through, diff->around,
                                         tape->end, err));
    diff->through = diff->around = end_diff;
    for (int i = last; i >= 0; i--) {
        const conv_tape *inside = i > 0 ? &build->convs[block->convs[i - 1]] : NULL;
        if (i < last && build->first_trainable > block->convs[i]) break;
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

bird_status bird_training_push_backward(builder *build, bird_value diff_features,
                                        bird_error *err) {
    bird_status status = BIRD_OK;
    roads diff = {.around = BIRD_NO_VALUE};

    if (build->first_trainable >= build->net->n_convs) return BIRD_OK;
    BIRD_TRY(bird_average_pool_backward(build->plan, &diff.through, diff_features,
                                        &build->global_pool, err));
    for (int i = build->net->n_blocks - 1; i >= 0; i--) {
        const bird_block *block = &build->net->blocks[i];
        int last = block->shortcut >= 0 ? block->shortcut : block->convs[block->n_convs - 1];
        if (build->first_trainable > last) return BIRD_OK;
        BIRD_TRY(block_backward(build, &diff, i, err));
    }
    if (build->first_trainable <= build->net->stem[build->net->n_stem - 1])
        BIRD_TRY(stem_backward(build, &diff, err));
cleanup:
    return status;
}
