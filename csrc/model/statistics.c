#include "model/statistics.h"

#include "base/alloc.h"
#include "base/executor.h"
#include "model/training_plan.h"
#include "nn/team.h"

typedef struct statistics_job {
    const bird_weights *weights; /* borrowed, like the other pointers, from the waiting caller */
    float *stats;
    const float *pixels;
    bird_training_key key;
} statistics_job;

/* Make a slab of all parameters. The caller frees it. */
static bird_status widened(float **slab, const bird_weights *weights, bird_error *err) {
    const bird_params *params = &bird_weights_net(weights)->params;
    *slab = bird_calloc(params->slab_count, sizeof **slab);
    if (!*slab) return bird_fail(err, BIRD_NOMEM, "out of memory for statistics");
    for (int i = 0; i < params->n; i++)
        bird_weights_read(weights, i, *slab + params->items[i].offset);
    return BIRD_OK;
}

static bird_status measure(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    const statistics_job *asked = context;
    bird_training_key key = asked->key;
    const bird_resnet *net = bird_weights_net(asked->weights);
    float *wide = NULL; /* owned: the parameters, if the network keeps some as float16 */
    bool *trainable = bird_calloc((size_t)net->params.n, sizeof *trainable);
    float *features =
        bird_alloc((size_t)asked->key.batch * (size_t)net->num_features * sizeof *features);
    bird_training_plan *plan = NULL;

    if (!trainable || !features) BIRD_FAIL(BIRD_NOMEM, "out of memory for statistics");
    if (!bird_weights_slab(asked->weights)) BIRD_TRY(widened(&wide, asked->weights, err));
    /* No parameter is trainable, so the plan has no backward pass and writes no parameter. */
    const bird_training_slabs slabs = {
        wide ? wide : (float *)bird_weights_slab(asked->weights), NULL, asked->stats};
    key.n_threads = bird_team_size(key.n_threads);
    BIRD_TRY(bird_training_plan_create(&plan, net, key, slabs, trainable, err));
    BIRD_TRY(bird_training_plan_forward(plan, features, asked->pixels, job, err));
cleanup:
    bird_training_plan_destroy(plan);
    bird_free(wide);
    bird_free(features);
    bird_free(trainable);
    return status;
}

bird_status bird_conv_statistics(const bird_weights *weights, float *stats, const float *pixels,
                                 int n, int size, int n_threads, bird_cancel *cancel,
                                 bird_error *err) {
    statistics_job job = {
        .weights = weights,
        .stats = stats,
        .pixels = pixels,
        .key = {.batch = n, .size = size, .n_threads = n_threads, .bn = BIRD_BN_MEASURE},
    };
    return bird_executor_run(measure, &job, cancel, err);
}
