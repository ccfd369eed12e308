/* The parts of a training step: forward, loss and backward, apply. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/executor.h"
#include "base/finite.h"
#include "base/threads.h"
#include "model/linear.h"
#include "model/loss.h"
#include "nn/team.h"
#include "train/reductions.h"
#include "train/trainer_internal.h"

/* --- forward ------------------------------------------------------------------------- */

static bird_status find_plan(bird_training_plan **plan, bird_trainer *trainer,
                             bird_training_key key, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_training_slabs slabs = {trainer->slabs[BIRD_SLAB_PARAMS],
                                       trainer->slabs[BIRD_SLAB_GRADS], trainer->stats};
    bird_training_plan *found = NULL;
    int at;

    *plan = NULL;
    for (at = 0; at < trainer->n_plans; at++)
        if (bird_training_plan_fits(trainer->plans[at], key)) break;
    if (at < trainer->n_plans) {
        found = trainer->plans[at];
    } else {
        /* The slab is large, so free the old one before allocating the new one. */
        if (trainer->n_plans == MAX_PLANS)
            bird_training_plan_destroy(trainer->plans[--trainer->n_plans]);
        BIRD_TRY(bird_training_plan_create(&found, trainer->net, key, slabs, trainer->trainable,
                                           err));
        at = trainer->n_plans++;
    }
    memmove(&trainer->plans[1], &trainer->plans[0], (size_t)at * sizeof *trainer->plans);
    trainer->plans[0] = found;
    *plan = found;
cleanup:
    return status;
}

typedef struct step_job {
    bird_trainer *trainer; /* borrowed from the caller, which waits */
    bird_training_key key;
    const float *pixels; /* (key.batch, 3, size, size) */
} step_job;

static bird_status forward_job(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    const step_job *asked = context;
    bird_trainer *trainer = asked->trainer;
    bird_training_key key = asked->key;
    bird_training_plan *plan;

    key.n_threads = bird_team_size(key.n_threads);
    BIRD_TRY(find_plan(&plan, trainer, key, err));
    BIRD_TRY(bird_training_plan_forward(plan, trainer->features, asked->pixels, job, err));
    trainer->current = plan;
cleanup:
    return status;
}

/* Make room for n rows of features and logits. */
static bird_status make_room(bird_trainer *trainer, int n, bird_error *err) {
    const size_t features = (size_t)n * (size_t)trainer->net->num_features;
    const size_t logits = (size_t)n * (size_t)trainer->net->num_classes;
    if (n == trainer->n) return BIRD_OK;
    bird_free(trainer->features);
    bird_free(trainer->diff_features);
    bird_free(trainer->diff_logits);
    trainer->n = 0;
    trainer->features = bird_alloc(features * sizeof(float));
    trainer->diff_features = bird_alloc(features * sizeof(float));
    trainer->diff_logits = bird_alloc(logits * sizeof(float));
    if (!trainer->features || !trainer->diff_features || !trainer->diff_logits)
        return bird_fail(err, BIRD_NOMEM, "out of memory for a batch of %d", n);
    trainer->n = n;
    return BIRD_OK;
}

/* The ReLU in the batch norm of oneDNN turns NaN into 0, so the loss would not show that training
 * has diverged. So check the possible sources of NaN: pixels, weights, sums that overflowed. */
static bool sound(const bird_trainer *trainer, const float *pixels, size_t n_pixels,
                  int n_threads) {
    const bird_resnet *net = trainer->net;
    bool fine = bird_all_finite(pixels, n_pixels, n_threads) &&
                bird_all_finite(trainer->slabs[BIRD_SLAB_PARAMS], trainer->count, n_threads);
    for (int c = 0; fine && trainer->bn == BIRD_BN_TRAIN && c < net->n_convs; c++) {
        const bird_conv_bn *unit = &net->convs[c];
        if (!bird_training_moves_statistics(unit, trainer->trainable)) continue;
        for (int i = 2; i <= 3; i++) { /* mean and variance */
            const bird_param *stat = &net->params.items[unit->bn + i];
            fine = fine && bird_all_finite(trainer->stats + stat->offset, stat->count, 1);
        }
    }
    return fine;
}

/* When oneDNN computes gradients of weights, threads wait for each other without yielding the CPU.
 * With more threads than CPUs each wait takes time slices, and a step takes minutes. */
static int at_most_cpus(int n_threads) {
    int cpus = bird_available_cpus();
    return n_threads > cpus ? cpus : n_threads;
}

bird_status bird_trainer_forward(bird_trainer *trainer, float *features, const float *pixels,
                                 int n, int size, int n_threads, bird_cancel *cancel,
                                 bird_error *err) {
    bird_status status = BIRD_OK;
    step_job job = {
        .trainer = trainer,
        .key = {.batch = n, .size = size, .n_threads = at_most_cpus(n_threads),
                .bn = trainer->bn, .precision = trainer->precision},
        .pixels = pixels,
    };

    trainer->current = NULL;
    trainer->has_loss = false;
    if (n < 1) BIRD_FAIL(BIRD_SHAPE, "a training batch must hold at least one image");
    if (size < 32 || size > 512 || size % 32 != 0)
        BIRD_FAIL(BIRD_SHAPE, "images for training must be squares of 32 to 512 pixels, a "
                              "multiple of 32, got %d", size);
    if (n == 1 && size == 32 && trainer->bn == BIRD_BN_TRAIN)
        BIRD_FAIL(BIRD_SHAPE, "batch norm needs more than one pixel per channel: use a larger "
                              "batch or size");
    BIRD_TRY(make_room(trainer, n, err));
    status = bird_executor_run(forward_job, &job, cancel, err);
    if (status != BIRD_OK) trainer->current = NULL; /* it was cancelled at its very end */
    BIRD_TRY(status);
    trainer->size = size;
    const size_t count = (size_t)n * (size_t)trainer->net->num_features;
    if (!sound(trainer, pixels, (size_t)n * 3 * (size_t)size * (size_t)size, n_threads))
        for (size_t i = 0; i < count; i++) trainer->features[i] = NAN;
    memcpy(features, trainer->features, count * sizeof *features);
cleanup:
    return status;
}

/* --- loss and backward --------------------------------------------------------------- */

bird_status bird_trainer_loss(bird_trainer *trainer, double *loss, float *logits,
                              const float *targets, const float *weights, bird_error *err) {
    const bird_resnet *net = trainer->net;
    const float *params = trainer->slabs[BIRD_SLAB_PARAMS];
    if (!trainer->current) return bird_fail(err, BIRD_ARG, "loss needs a forward pass first");
    if (net->num_classes == 0)
        return bird_fail(err, BIRD_ARG, "this network has no classifier to train");
    double total = weights ? 0 : 1;
    for (int i = 0; weights && i < trainer->n; i++) {
        /* Negated: NaN must fail too. */
        if (!(weights[i] >= 0 && isfinite(weights[i])))
            return bird_fail(err, BIRD_ARG, "weights must be finite and not negative, got %g",
                             (double)weights[i]);
        total += (double)weights[i];
    }
    bird_linear(logits, trainer->features, params + net->params.items[net->head_weight].offset,
                params + net->params.items[net->head_bias].offset, (size_t)trainer->n,
                (size_t)net->num_features, (size_t)net->num_classes);
    *loss = 0;
    trainer->has_loss = total > 0; /* images of weight 0 have no gradient */
    if (trainer->has_loss)
        *loss = bird_cross_entropy(trainer->diff_logits, logits, targets, weights,
                                   (size_t)trainer->n, (size_t)net->num_classes);
    return BIRD_OK;
}

static bird_status backward_job(void *context, bird_job *job, bird_error *err) {
    bird_trainer *trainer = context;
    return bird_training_plan_backward(trainer->current, trainer->diff_features, job, err);
}

/* Compute diff_features from the loss, if there is one, and from the caller's gradient, both
 * scaled. */
static void head_backward(bird_trainer *trainer, const float *diff_features, float scale) {
    const bird_resnet *net = trainer->net;
    const size_t count = (size_t)trainer->n * (size_t)net->num_features;
    float *grads = trainer->slabs[BIRD_SLAB_GRADS];

    memset(trainer->diff_features, 0, count * sizeof(float));
    if (net->num_classes > 0) {
        const bird_param *weight = &net->params.items[net->head_weight];
        const bird_param *bias = &net->params.items[net->head_bias];
        const size_t n_logits = (size_t)trainer->n * (size_t)net->num_classes;
        if (!trainer->has_loss) memset(trainer->diff_logits, 0, n_logits * sizeof(float));
        for (size_t i = 0; i < n_logits; i++) trainer->diff_logits[i] *= scale;
        bird_linear_backward(trainer->diff_features, grads + weight->offset,
                             grads + bias->offset, trainer->diff_logits, trainer->features,
                             trainer->slabs[BIRD_SLAB_PARAMS] + weight->offset,
                             (size_t)trainer->n, (size_t)net->num_features,
                             (size_t)net->num_classes);
    }
    if (diff_features)
        for (size_t i = 0; i < count; i++)
            trainer->diff_features[i] += scale * diff_features[i];
}

bird_status bird_trainer_backward(bird_trainer *trainer, const float *diff_features,
                                  bool accumulate, float scale, bird_cancel *cancel,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    float *grads = trainer->slabs[BIRD_SLAB_GRADS];
    const size_t bytes = trainer->count * sizeof *grads;

    if (!trainer->current)
        BIRD_FAIL(BIRD_ARG, "backward needs a forward pass first, one for each call");
    if (accumulate) {
        if (!trainer->sum) trainer->sum = bird_alloc(bytes);
        if (!trainer->sum) BIRD_FAIL(BIRD_NOMEM, "out of memory for accumulated gradients");
        memcpy(trainer->sum, grads, bytes);
    }
    head_backward(trainer, diff_features, scale);
    status = bird_executor_run(backward_job, trainer, cancel, err);
    trainer->current = NULL;
    if (status != BIRD_OK && accumulate) memcpy(grads, trainer->sum, bytes);
    BIRD_TRY(status);
    if (accumulate)
        for (size_t i = 0; i < trainer->count; i++) grads[i] += trainer->sum[i];
    else
        trainer->has_pending = false; /* drop those of a step that was never applied */
    if (trainer->bn == BIRD_BN_TRAIN) bird_trainer_move_statistics(trainer);
cleanup:
    return status;
}

/* --- apply --------------------------------------------------------------------------- */

bird_status bird_trainer_apply(bird_trainer *trainer, const bird_optimizer *optimizer,
                               const float *lr, const float *weight_decay, float ema_decay,
                               int n_threads, bird_error *err) {
    bird_status status = BIRD_OK;
    float *params = trainer->slabs[BIRD_SLAB_PARAMS], *first, *second = NULL;
    bool new_average = ema_decay > 0 && !trainer->slabs[BIRD_SLAB_EMA];
    float *average = NULL;

    BIRD_TRY(bird_trainer_need_slab(trainer, &first, BIRD_SLAB_FIRST, err));
    if (optimizer->kind == BIRD_ADAMW)
        BIRD_TRY(bird_trainer_need_slab(trainer, &second, BIRD_SLAB_SECOND, err));
    if (ema_decay > 0) BIRD_TRY(bird_trainer_need_slab(trainer, &average, BIRD_SLAB_EMA, err));
    /* From here on nothing fails. */
    if (new_average) memcpy(average, params, trainer->count * sizeof *average);
    const bird_moments slabs = {params, trainer->slabs[BIRD_SLAB_GRADS], first, second};
    bird_optimizer_step(optimizer, slabs, &trainer->net->params, trainer->trainable, lr,
                        weight_decay, ++trainer->steps, n_threads);
    if (trainer->current && trainer->bn == BIRD_BN_TRAIN) bird_trainer_move_statistics(trainer);
    trainer->current = NULL; /* its gradient would belong to other weights */
    bird_trainer_commit_statistics(trainer);
    if (ema_decay > 0) bird_ema_step(average, params, trainer->count, ema_decay);
cleanup:
    return status;
}
