/* A set made from float16 convolutions: its numbers, features and logits are bit-identical to those
 * of a set made from the same numbers as float32. */
#include <string.h>

#include "base/alloc.h"
#include "base/float16.h"
#include "check.h"
#include "model/inference.h"

enum { SIDE = 32, PICTURE = 3 * SIDE * SIDE, FEATURES = 512, CLASSES = 3 };

static const bird_resnet_spec tiny = {
    .name = "tiny", .block = BIRD_BASIC_BLOCK, .stages = {1, 1, 1, 1}};

static float pixels[2 * PICTURE];

/* A parameter in both formats. The caller frees both. */
typedef struct both {
    uint16_t *halves;
    float *wide;
} both;

/* Return numbers from 2^-5 to 2^-3, and one that is subnormal in float16. */
static both random_numbers(size_t count, unsigned *state) {
    const both made = {bird_alloc(count * sizeof(uint16_t)), bird_alloc(count * sizeof(float))};
    for (size_t i = 0; i < count; i++) {
        *state = *state * 1664525u + 1013904223u;
        made.halves[i] = (uint16_t)(0x2800 + (*state >> 21));
    }
    if (count > 8) made.halves[3] = 0x8003;
    bird_widen(made.wide, made.halves, count);
    return made;
}

/* The parameters that are given as float16. */
typedef enum given_as { FLOAT32, CONVOLUTIONS, EVERYTHING } given_as;

static bird_weights *make(given_as as) {
    bird_weights *weights = NULL;
    bird_numbers given[128];
    both made[128];
    unsigned state = 1;

    CHECK_OK(bird_weights_create(&weights, &tiny, CLASSES, err));
    const bird_params *params = &bird_weights_net(weights)->params;
    CHECK(params->n <= 128);
    for (int i = 0; i < params->n; i++) {
        const bool half =
            as == EVERYTHING || (as == CONVOLUTIONS && params->items[i].kind == BIRD_CONV_WEIGHT);
        made[i] = random_numbers(params->items[i].count, &state);
        given[i].is_float16 = half;
        given[i].data = half ? (const void *)made[i].halves : (const void *)made[i].wide;
    }
    CHECK_OK(bird_weights_fill(weights, given, 2, err));
    for (int i = 0; i < params->n; i++) {
        float *read = bird_alloc(params->items[i].count * sizeof *read);
        bird_weights_read(weights, i, read);
        CHECK(memcmp(read, made[i].wide, params->items[i].count * sizeof *read) == 0);
        if (params->items[i].kind != BIRD_CONV_WEIGHT)
            CHECK(memcmp(bird_weights_param(weights, i), made[i].wide,
                         params->items[i].count * sizeof *read) == 0);
        bird_free(read);
        bird_free(made[i].halves);
        bird_free(made[i].wide);
    }
    return weights;
}

typedef struct outputs {
    float features[2 * FEATURES], logits[2 * CLASSES];
} outputs;

static void embed(outputs *out, bird_weights *weights, int n_threads) {
    bird_inference *inference = NULL;
    CHECK_OK(bird_inference_create(&inference, weights, err));
    CHECK_OK(bird_inference_features(inference, out->features, pixels, 2, SIDE, SIDE, BIRD_FLOAT32,
                                     BIRD_POOL_AVERAGE, n_threads, NULL, err));
    CHECK_OK(bird_weights_head(weights, out->logits, out->features, 2, err));
    bird_inference_destroy(inference);
}

/* The padding between two parameters of a slab is 0. */
static void zeros_between(const bird_weights *weights) {
    const bird_params *params = &bird_weights_net(weights)->params;
    const float *slab = bird_weights_slab(weights);
    for (int i = 0; i < params->n; i++) {
        const size_t next = i + 1 < params->n ? params->items[i + 1].offset : params->slab_count;
        for (size_t j = params->items[i].offset + params->items[i].count; j < next; j++)
            CHECK(slab[j] == 0);
        CHECK(bird_weights_param(weights, i) == slab + params->items[i].offset);
    }
}

int main(void) {
    static outputs expected, found;
    for (int i = 0; i < 2 * PICTURE; i++) pixels[i] = (float)(i % 17 - 8) / 8.0f;
    for (given_as as = FLOAT32; as <= EVERYTHING; as++) {
        bird_weights *weights = make(as);
        CHECK((bird_weights_slab(weights) != NULL) == (as == FLOAT32));
        if (as == FLOAT32) {
            zeros_between(weights);
            embed(&expected, weights, 1);
            CHECK(expected.features[0] > 0 && expected.logits[0] > 0);
        }
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            embed(&found, weights, n_threads);
            CHECK(memcmp(&found, &expected, sizeof found) == 0);
        }
        bird_weights_release(weights);
    }
    return check_failures;
}
