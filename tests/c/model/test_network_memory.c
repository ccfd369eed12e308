/* Make the N-th allocation fail, for all N, from creating a network to its embedding. Each time the
 * result is BIRD_NOMEM and nothing leaks (AddressSanitizer checks for leaks). */
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "model/inference.h"

enum { SIDE = 32, PICTURE = 3 * SIDE * SIDE, FEATURES = 2048, CLASSES = 3 };

/* The first has fewer features, so the second run overwrites what the first one left. */
static const bird_resnet_spec specs[] = {
    {.name = "basic", .block = BIRD_BASIC_BLOCK, .stages = {1, 1, 1, 1}},
    {.name = "deep", .stages = {1, 1, 1, 1}, .variant_d = true},
};
static const bird_resnet_spec *tiny; /* the one under test */

static float pixels[2 * PICTURE], features[2 * FEATURES], logits[2 * CLASSES];

static bird_status fill(bird_weights *weights, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_params *params = &bird_weights_net(weights)->params;
    float *slab = bird_calloc(params->slab_count, sizeof *slab);
    unsigned state = 1;

    if (!slab) BIRD_FAIL(BIRD_NOMEM, "out of memory for a slab");
    for (int i = 0; i < params->n; i++)
        for (size_t j = 0; j < params->items[i].count; j++) {
            state = state * 1664525u + 1013904223u;
            slab[params->items[i].offset + j] = (float)(state >> 8) / (float)(1 << 24) * 0.1f;
        }
    BIRD_TRY(bird_weights_fill_slab(weights, slab, 2, err));
cleanup:
    bird_free(slab);
    return status;
}

/* Embed two images: two runs of one plan. */
static bird_status embed(bird_error *err) {
    bird_status status = BIRD_OK;
    bird_weights *weights = NULL;
    bird_inference *inference = NULL;
    BIRD_TRY(bird_weights_create(&weights, tiny, CLASSES, err));
    BIRD_TRY(fill(weights, err));
    BIRD_TRY(bird_inference_create(&inference, weights, err));
    BIRD_TRY(bird_inference_features(inference, features, pixels, 2, SIDE, SIDE,
                                     BIRD_FLOAT32, BIRD_POOL_AVERAGE, 2, NULL, err));
    BIRD_TRY(bird_weights_head(weights, logits, features, 2, err));
cleanup:
    bird_inference_destroy(inference);
    bird_weights_release(weights);
    return status;
}

/* After a failed plan the model must be unchanged: the next call makes the plan. */
static void usable_after_failure(void) {
    static float again[2 * FEATURES];
    bird_weights *weights = NULL;
    bird_inference *inference = NULL;
    CHECK_OK(bird_weights_create(&weights, tiny, 0, err));
    CHECK_OK(fill(weights, err));
    CHECK_OK(bird_inference_create(&inference, weights, err));
    for (long n = 1; n <= 60; n += 7) {
        bird_alloc_fail_at(n);
        bird_inference_features(inference, again, pixels, 2, SIDE, SIDE, BIRD_FLOAT32,
                                BIRD_POOL_AVERAGE, 2, NULL, NULL);
        bird_alloc_fail_at(0);
    }
    memset(again, 0, sizeof again);
    CHECK_OK(bird_inference_features(inference, again, pixels, 2, SIDE, SIDE, BIRD_FLOAT32,
                                     BIRD_POOL_AVERAGE, 2, NULL, err));
    CHECK(memcmp(again, features, sizeof features) == 0);
    bird_inference_destroy(inference);
    bird_weights_release(weights);
}

static void failing_allocations(void) {
    long total;
    bird_alloc_fail_at(0);
    CHECK_OK(embed(err));
    total = bird_alloc_count();
    CHECK(total > 20);
    CHECK(logits[0] != 0 && features[0] != 0);
    for (long n = 1; n <= total; n++) {
        bird_error record = {0};
        bird_alloc_fail_at(n);
        if (embed(&record) != BIRD_NOMEM || record.code != BIRD_NOMEM) {
            fprintf(stderr, "allocation %ld of %ld failed: code %d, %s\n", n, total, record.code,
                    record.message);
            check_failures++;
        }
    }
    bird_alloc_fail_at(0);
    CHECK_OK(embed(err));
    usable_after_failure();
}

int main(void) {
    for (int i = 0; i < 2 * PICTURE; i++) pixels[i] = (float)(i % 17 - 8) / 8.0f;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        tiny = &specs[i];
        failing_allocations();
    }
    return check_failures;
}
