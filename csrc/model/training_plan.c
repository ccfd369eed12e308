/* A training plan: its buffers, and the steps from training_forward_plan.c and then
 * training_backward_plan.c, which run as two halves. */
#include "model/training_plan.h"

#include <string.h>

#include "base/alloc.h"
#include "model/training_plan_internal.h"

struct bird_training_plan {
    bird_training_key key;
    bird_plan *plan; /* owned */
    float *pixels;   /* owned (batch, 3, size, size): the backward pass reads them again */
    float *diff;     /* owned (batch, num_features) */
    size_t n_pixels, n_features;
    bird_value features;
    int split; /* steps before it are the forward pass */
};

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
    BIRD_TRY(bird_precision_require(key.precision, "training", err));
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
    BIRD_TRY(bird_training_push_forward(build, &made->features, input, err));
    made->split = bird_plan_length(made->plan);
    BIRD_TRY(bird_plan_input(made->plan, &diff_features, key.batch, net->num_features, 1, 1, err));
    BIRD_TRY(bird_training_push_backward(build, diff_features, err));
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
