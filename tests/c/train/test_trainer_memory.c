/* The whole trainer, on a network with one block per stage and images of 32 px, whose last maps are
 * single pixels: failing allocations, cancelling, and every position at which the frozen part can
 * end. */
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "check.h"
#include "train/trainer.h"

enum { SIDE = 32, PICTURE = 3 * SIDE * SIDE, BATCH = 3, FEATURES = 2048, CLASSES = 3 };

static const bird_resnet_spec plain = {.name = "plain", .stages = {1, 1, 1, 1}};
static const bird_resnet_spec deep = {
    .name = "deep", .stages = {1, 1, 1, 1}, .variant_d = true};
static const bird_resnet_spec basic = {
    .name = "basic", .block = BIRD_BASIC_BLOCK, .stages = {2, 1, 1, 1}};
static const bird_resnet_spec deep_basic = {
    .name = "deep basic", .block = BIRD_BASIC_BLOCK, .stages = {1, 2, 1, 1}, .variant_d = true};

static float pixels[4 * BATCH * PICTURE], features[BATCH * FEATURES], logits[BATCH * CLASSES];
static const float targets[BATCH * CLASSES] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

static const bird_optimizer adamw = {.kind = BIRD_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f,
                                     .eps = 1e-8f, .grad_scale = 1};

/* Fill with He initialisation, and with batch norms that are not the identity. */
static void fill(bird_trainer *trainer) {
    const bird_params *params = &bird_trainer_net(trainer)->params;
    unsigned state = 1;
    for (int i = 0; i < params->n; i++) {
        const bird_param *param = &params->items[i];
        float *to = bird_trainer_slab(trainer, BIRD_SLAB_PARAMS) + param->offset;
        const float inputs = (float)(param->count / param->dims[0]);
        for (size_t j = 0; j < param->count; j++) {
            state = state * 1664525u + 1013904223u;
            const float unit = (float)(state >> 8) / (float)(1 << 24);
            if (param->kind == BIRD_BN_WEIGHT || param->kind == BIRD_BN_VAR)
                to[j] = 0.5f + unit;
            else if (param->ndim > 1)
                to[j] = (2 * unit - 1) * sqrtf(6.0f / inputs);
            else
                to[j] = unit - 0.5f;
        }
    }
}

static void configure(bird_trainer *trainer, bird_bn_mode bn, int from) {
    bool trainable[512];
    for (int i = 0; i < 512; i++) trainable[i] = i >= from;
    bird_trainer_configure(trainer, bn, trainable, 0.1f, BIRD_FLOAT32);
}

static bird_status gradients(bird_trainer *trainer, bool accumulate, bird_error *err) {
    bird_status status = BIRD_OK;
    double loss;
    BIRD_TRY(bird_trainer_forward(trainer, features, pixels, BATCH, SIDE, 2, NULL, err));
    BIRD_TRY(bird_trainer_loss(trainer, &loss, logits, targets, NULL, err));
    BIRD_TRY(bird_trainer_backward(trainer, NULL, accumulate, 1, NULL, err));
    CHECK(isfinite(loss));
cleanup:
    return status;
}

/* The sum of all parameters after a step with two passes. */
static double trained;

static bird_status train(const bird_resnet_spec *spec, bird_bn_mode bn, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_trainer *trainer = NULL;
    float lr[512], decay[512];
    for (int i = 0; i < 512; i++) lr[i] = decay[i] = 1e-3f;
    BIRD_TRY(bird_trainer_create(&trainer, spec, CLASSES, err));
    fill(trainer);
    configure(trainer, bn, 0);
    BIRD_TRY(gradients(trainer, false, err));
    BIRD_TRY(gradients(trainer, true, err));
    BIRD_TRY(bird_trainer_apply(trainer, &adamw, lr, decay, 0.9f, 2, err));
    trained = 0;
    for (size_t i = 0; i < bird_trainer_net(trainer)->params.slab_count; i++)
        trained += (double)bird_trainer_slab(trainer, BIRD_SLAB_PARAMS)[i];
cleanup:
    bird_trainer_destroy(trainer);
    return status;
}

/* Make the N-th allocation fail, for all N: the result is BIRD_NOMEM, and nothing leaks. Only the
 * threads of the optimizer and of the checks are optional: without them the step is the same. */
static void failing_allocations(void) {
    long total, n_whole = 0;
    bird_alloc_fail_at(0);
    CHECK_OK(train(&deep, BIRD_BN_TRAIN, err));
    total = bird_alloc_count();
    CHECK(total > 20);
    const double expected = trained;
    for (long n = 1; n <= total; n++) {
        bird_error record = {0};
        bird_alloc_fail_at(n);
        bird_status status = train(&deep, BIRD_BN_TRAIN, &record);
        if (status == BIRD_OK && trained == expected && n_whole++ < total - 20) continue;
        if (status == BIRD_NOMEM && record.code == BIRD_NOMEM) continue;
        fprintf(stderr, "allocation %ld of %ld failed: code %d, %s\n", n, total, record.code,
                record.message);
        check_failures++;
    }
    bird_alloc_fail_at(0);
}

/* After a failed step, the trainer can repeat it, with the same gradients. */
static void usable_after_failure(void) {
    bird_trainer *trainer = NULL;
    CHECK_OK(bird_trainer_create(&trainer, &plain, CLASSES, err));
    fill(trainer);
    configure(trainer, BIRD_BN_TRAIN, 0);
    const size_t bytes = bird_trainer_net(trainer)->params.slab_count * sizeof(float);
    float *expected = bird_alloc(bytes);
    CHECK_OK(gradients(trainer, false, err));
    memcpy(expected, bird_trainer_slab(trainer, BIRD_SLAB_GRADS), bytes);
    for (long n = 1; n <= 16; n++) {
        configure(trainer, BIRD_BN_TRAIN, 0); /* drops the plan */
        bird_alloc_fail_at(n);
        gradients(trainer, false, NULL);
        bird_alloc_fail_at(0);
    }
    memset(bird_trainer_slab(trainer, BIRD_SLAB_GRADS), 0, bytes);
    CHECK_OK(gradients(trainer, false, err));
    CHECK(memcmp(expected, bird_trainer_slab(trainer, BIRD_SLAB_GRADS), bytes) == 0);
    bird_free(expected);
    bird_trainer_destroy(trainer);
}

/* --- cancelling ---------------------------------------------------------------------- */

typedef struct stopper {
    bird_cancel cancel;
    long microseconds;
} stopper;

static void *stop_later(void *context) {
    stopper *self = context;
    struct timespec time = {0, self->microseconds * 1000};
    nanosleep(&time, NULL);
    atomic_store(&self->cancel.requested, true);
    return NULL;
}

/* Run a backward pass that accumulates, and stop it after `microseconds`. Return true if it was
 * stopped. */
static bool stopped_backward(bird_trainer *trainer, long microseconds) {
    stopper stop = {.microseconds = microseconds};
    pthread_t thread;
    double loss;
    CHECK_OK(bird_trainer_forward(trainer, features, pixels, BATCH, SIDE, 2, NULL, err));
    CHECK_OK(bird_trainer_loss(trainer, &loss, logits, targets, NULL, err));
    bird_cancel_init(&stop.cancel, NULL, NULL);
    pthread_create(&thread, NULL, stop_later, &stop);
    bird_status status = bird_trainer_backward(trainer, NULL, true, 1, &stop.cancel, NULL);
    pthread_join(thread, NULL);
    CHECK(status == BIRD_OK || status == BIRD_CANCELLED);
    CHECK(bird_trainer_backward(trainer, NULL, true, 1, NULL, NULL) == BIRD_ARG);
    return status == BIRD_CANCELLED;
}

/* Cancel a pass at any time: no gradient is lost, and nothing may build on the cancelled pass. */
static void cancelled(void) {
    bird_trainer *trainer = NULL;
    bird_cancel cancel;
    double loss;
    size_t wrong = 0;
    CHECK_OK(bird_trainer_create(&trainer, &plain, CLASSES, err));
    fill(trainer);
    configure(trainer, BIRD_BN_TRAIN, 0);
    const size_t count = bird_trainer_net(trainer)->params.slab_count;
    float *grads = bird_trainer_slab(trainer, BIRD_SLAB_GRADS);
    float *expected = bird_alloc(count * sizeof(float));
    CHECK_OK(gradients(trainer, false, err));
    memcpy(expected, grads, count * sizeof(float));

    bird_cancel_init(&cancel, NULL, NULL);
    atomic_store(&cancel.requested, true);
    CHECK(bird_trainer_forward(trainer, features, pixels, BATCH, SIDE, 2, &cancel, NULL) ==
          BIRD_CANCELLED);
    CHECK(bird_trainer_loss(trainer, &loss, logits, targets, NULL, NULL) == BIRD_ARG);
    CHECK(bird_trainer_backward(trainer, NULL, false, 1, NULL, NULL) == BIRD_ARG);

    long step = 50, at = 0;
    while (at < 1000000 && stopped_backward(trainer, at)) {
        CHECK(memcmp(grads, expected, count * sizeof(float)) == 0);
        at += step;
        step += step / 4;
    }
    CHECK(at > 0); /* the last one finished and was added */
    for (size_t i = 0; i < count; i++) wrong += grads[i] != 2 * expected[i];
    CHECK(wrong == 0);
    bird_free(expected);
    bird_trainer_destroy(trainer);
}

/* --- freezing ------------------------------------------------------------------------ */

static bool is_norm(const bird_param *param) {
    return param->kind == BIRD_BN_WEIGHT || param->kind == BIRD_BN_BIAS;
}

static void gradients_of(bird_trainer *trainer, const bool *trainable) {
    const bird_params *params = &bird_trainer_net(trainer)->params;
    bird_trainer_configure(trainer, BIRD_BN_TRAIN, trainable, 0.1f, BIRD_FLOAT32);
    memset(bird_trainer_slab(trainer, BIRD_SLAB_GRADS), 0, params->slab_count * sizeof(float));
    CHECK_OK(gradients(trainer, false, err));
}

/* Compare the gradients of trained parameters with those of a step in which the same batch norms
 * are frozen, so that they normalise with their running statistics, and every convolution is
 * trained. */
static void check_frozen(bird_trainer *trainer, const bool *trainable, float *expected,
                         const char *what) {
    const bird_params *params = &bird_trainer_net(trainer)->params;
    const float *grads = bird_trainer_slab(trainer, BIRD_SLAB_GRADS);
    bool all_but_norms[512];
    for (int i = 0; i < params->n; i++)
        all_but_norms[i] = trainable[i] || !is_norm(&params->items[i]);
    gradients_of(trainer, all_but_norms);
    memcpy(expected, grads, params->slab_count * sizeof(float));
    gradients_of(trainer, trainable);
    for (int i = 0; i < params->n; i++) {
        const bird_param *param = &params->items[i];
        if (!bird_trainer_trainable(trainer)[i]) continue;
        if (memcmp(grads + param->offset, expected + param->offset,
                   param->count * sizeof(float)) == 0)
            continue;
        fprintf(stderr, "%s: another gradient of %s\n", what, param->name);
        check_failures++;
    }
}

static void freezing(const bird_resnet_spec *spec) {
    bird_trainer *trainer = NULL;
    bool trainable[512];
    CHECK_OK(bird_trainer_create(&trainer, spec, CLASSES, err));
    fill(trainer);
    const bird_params *params = &bird_trainer_net(trainer)->params;
    const size_t bytes = params->slab_count * sizeof(float);
    float *expected = bird_alloc(bytes);
    size_t size = SIZE_MAX;
    for (int i = 0; i < params->n; i++) {
        if (params->items[i].kind == BIRD_BN_MEAN || params->items[i].kind == BIRD_BN_VAR) continue;
        for (int j = 0; j < params->n; j++) trainable[j] = j >= i; /* a prefix */
        check_frozen(trainer, trainable, expected, params->items[i].name);
        if (params->items[i].kind == BIRD_CONV_WEIGHT) {
            CHECK(bird_trainer_size(trainer) <= size); /* frozen layers keep nothing */
            size = bird_trainer_size(trainer);
        }
        if (params->items[i].kind != BIRD_CONV_WEIGHT) continue;
        for (int j = 0; j < params->n; j++) trainable[j] = j == i; /* all but one */
        check_frozen(trainer, trainable, expected, params->items[i].name);
    }
    for (int j = 0; j < params->n; j++) trainable[j] = false;
    check_frozen(trainer, trainable, expected, "nothing is trained");
    bird_free(expected);
    bird_trainer_destroy(trainer);
}

/* The statistics of frozen batch norms do not change by a bit, neither in the parameters nor in the
 * average. */
static void frozen_statistics_stay(void) {
    bird_trainer *trainer = NULL;
    float lr[512], decay[512];
    for (int i = 0; i < 512; i++) lr[i] = decay[i] = 1e-3f;
    CHECK_OK(bird_trainer_create(&trainer, &plain, CLASSES, err));
    fill(trainer);
    const bird_params *params = &bird_trainer_net(trainer)->params;
    const int from = params->n / 2;
    const size_t bytes = params->slab_count * sizeof(float);
    float *before = bird_alloc(bytes);
    memcpy(before, bird_trainer_slab(trainer, BIRD_SLAB_PARAMS), bytes);
    configure(trainer, BIRD_BN_TRAIN, from);
    for (int step = 0; step < 3; step++) {
        CHECK_OK(gradients(trainer, false, err));
        CHECK_OK(bird_trainer_apply(trainer, &adamw, lr, decay, 0.7f, 2, err));
    }
    const bool *trainable = bird_trainer_trainable(trainer);
    for (int i = 0; i < params->n; i++) {
        const bird_param *param = &params->items[i];
        const bool is_mean = param->kind == BIRD_BN_MEAN, is_var = param->kind == BIRD_BN_VAR;
        const int scale = is_mean ? i - 2 : i - 3;
        const bool moves = is_mean || is_var ? trainable[scale] || trainable[scale + 1]
                                             : trainable[i];
        const bird_slab slabs[2] = {BIRD_SLAB_PARAMS, BIRD_SLAB_EMA};
        for (int s = 0; s < 2; s++) {
            const float *now = bird_trainer_slab(trainer, slabs[s]) + param->offset;
            const bool same = memcmp(now, before + param->offset, param->count * 4) == 0;
            if (same == !moves) continue;
            fprintf(stderr, "%s %s\n", param->name, moves ? "did not move" : "moved");
            check_failures++;
        }
    }
    bird_free(before);
    bird_trainer_destroy(trainer);
}

/* --- shapes -------------------------------------------------------------------------- */

static void shapes(void) {
    bird_trainer *trainer = NULL;
    bird_error record;
    double loss;
    CHECK_OK(bird_trainer_create(&trainer, &plain, 0, err)); /* no head */
    fill(trainer);
    configure(trainer, BIRD_BN_TRAIN, 0);
    CHECK(bird_trainer_forward(trainer, features, pixels, 1, 32, 2, NULL, &record) == BIRD_SHAPE);
    CHECK(bird_trainer_forward(trainer, features, pixels, 0, 32, 2, NULL, &record) == BIRD_SHAPE);
    CHECK(bird_trainer_forward(trainer, features, pixels, 2, 48, 2, NULL, &record) == BIRD_SHAPE);
    CHECK(bird_trainer_forward(trainer, features, pixels, 2, 0, 2, NULL, &record) == BIRD_SHAPE);
    CHECK_OK(bird_trainer_forward(trainer, features, pixels, 1, 64, 2, NULL, err));
    CHECK(bird_trainer_loss(trainer, &loss, logits, targets, NULL, &record) == BIRD_ARG);
    CHECK_OK(bird_trainer_backward(trainer, features, false, 1, NULL, err));
    const bird_bn_mode modes[] = {BIRD_BN_FROZEN_STATS, BIRD_BN_FROZEN};
    for (int i = 0; i < 2; i++) { /* a single pixel is allowed if no statistics are computed */
        configure(trainer, modes[i], 0);
        CHECK_OK(bird_trainer_forward(trainer, features, pixels, 1, 32, 2, NULL, err));
        CHECK_OK(bird_trainer_backward(trainer, features, false, 1, NULL, err));
        for (int j = 0; j < FEATURES; j++) CHECK(isfinite(features[j]));
    }
    /* Three shapes with room for two plans, and back. */
    const int batches[] = {2, 3, 1, 2, 3, 3, 1}, sides[] = {32, 32, 64, 32, 64, 32, 96};
    for (int i = 0; i < 7; i++) {
        CHECK_OK(bird_trainer_forward(trainer, features, pixels, batches[i], sides[i], 2, NULL,
                                      err));
        CHECK_OK(bird_trainer_backward(trainer, features, false, 1, NULL, err));
    }
    bird_trainer_destroy(trainer);
}

int main(void) {
    for (int i = 0; i < 4 * BATCH * PICTURE; i++)
        pixels[i] = (float)((i * 7919) % 1013 - 506) / 300.0f;
    CHECK_OK(train(&plain, BIRD_BN_FROZEN_STATS, err));
    CHECK_OK(train(&plain, BIRD_BN_FROZEN, err));
    shapes();
    cancelled();
    usable_after_failure();
    freezing(&plain);
    freezing(&deep_basic);
    if (check_every_case()) {
        freezing(&deep);
        freezing(&basic);
    }
    frozen_statistics_stay();
    failing_allocations();
    return check_failures;
}
