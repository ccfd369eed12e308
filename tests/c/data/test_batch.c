/* Random streams, views, sampling and mixing in the core: bounds, sanitizers, memory. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "check.h"
#include "data/batch.h"
#include "data/mix.h"
#include "data/sampler.h"

static const bird_preprocess CFG = {
    .size = 40, .crop_pct = 1.0, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.25f}};

static bird_image noise(size_t height, size_t width) {
    bird_rng rng = bird_rng_stream(9, BIRD_STREAM_ORDER, height, width);
    bird_image image = {bird_alloc(height * width * 3), width, height};
    for (size_t i = 0; i < height * width * 3; i++)
        image.pixels[i] = (uint8_t)bird_rng_next(&rng);
    return image;
}

/* The exact numbers, because a change of the generator would change every training run. */
static void streams_are_fixed(void) {
    bird_rng plain = {1234567};
    bird_rng rng = bird_rng_stream(1, BIRD_STREAM_AUGMENT, 2, 3);
    /* published outputs of splitmix64 for the seed 1234567 */
    CHECK(bird_rng_next(&plain) == UINT64_C(6457827717110365317));
    CHECK(bird_rng_next(&plain) == UINT64_C(3203168211198807973));
    CHECK(bird_rng_next(&rng) == UINT64_C(15995785602363260018));
    CHECK(bird_rng_next(&rng) == UINT64_C(13859240332252630619));
    rng = bird_rng_stream(1, BIRD_STREAM_MIX, 2, 3);
    CHECK(bird_rng_next(&rng) != UINT64_C(15995785602363260018));
}

static void numbers_keep_their_bounds(void) {
    bird_rng rng = bird_rng_stream(0, BIRD_STREAM_ORDER, 0, 0);
    int counts[7] = {0};
    double sum = 0, square = 0;
    for (int i = 0; i < 70000; i++) {
        double u = bird_rng_uniform(&rng, -3, 5);
        CHECK(u >= -3 && u < 5);
        sum += u;
        square += u * u;
        counts[bird_rng_below(&rng, 7)]++;
    }
    CHECK(fabs(sum / 70000 - 1) < 0.05);
    CHECK(fabs(square / 70000 - 1 - 64.0 / 12) < 0.1);
    for (int k = 0; k < 7; k++) CHECK(abs(counts[k] - 10000) < 500);
    CHECK(bird_rng_below(&rng, 1) == 0);
}

/* The mean is 1/2 and the variance 1 / (4 (2 alpha + 1)). */
static void beta_has_its_moments(void) {
    const double alphas[] = {1e-310, 0.001, 0.2, 0.4, 1.0, 1.5, 8.0};
    for (size_t a = 0; a < sizeof alphas / sizeof *alphas; a++) {
        bird_rng rng = bird_rng_stream(0, BIRD_STREAM_MIX, 0, a);
        double sum = 0, square = 0, variance = 1 / (4 * (2 * alphas[a] + 1));
        for (int i = 0; i < 40000; i++) {
            double x = bird_rng_beta(&rng, alphas[a]);
            CHECK(x >= 0 && x <= 1);
            sum += x - 0.5;
            square += (x - 0.5) * (x - 0.5);
        }
        CHECK(fabs(sum / 40000) < 0.01);
        CHECK(fabs(square / 40000 / variance - 1) < 0.03);
    }
}

static void orders_are_permutations(void) {
    int64_t draws[101], labels[101];
    bool seen[101] = {false};
    bird_sampler_shuffled(draws, 101, 4, 1);
    for (int i = 0; i < 101; i++) {
        CHECK(draws[i] >= 0 && draws[i] < 101 && !seen[draws[i]]);
        seen[draws[i]] = true;
        labels[i] = i < 3 ? 2 : 0; /* class 1 has no samples */
    }
    CHECK_OK(bird_sampler_balanced(draws, labels, 101, 3, 4, 1, err));
    int small = 0, drawn[101] = {0};
    for (int i = 0; i < 101; i++) {
        small += draws[i] % 101 < 3;
        drawn[draws[i] % 101]++;
        /* the k-th occurrence has the number k */
        for (int j = 0; j < i; j++) CHECK(draws[i] != draws[j]);
    }
    CHECK(small == 50 || small == 51);
    for (int i = 0; i < 3; i++) CHECK(drawn[i] >= 16 && drawn[i] <= 17);
    for (int i = 3; i < 101; i++) CHECK(drawn[i] <= 1);
    labels[7] = 3;
    CHECK(bird_sampler_balanced(draws, labels, 101, 3, 4, 1, NULL) == BIRD_ARG);
    labels[7] = -1;
    CHECK(bird_sampler_balanced(draws, labels, 101, 3, 4, 1, NULL) == BIRD_ARG);
}

/* Many views of images of many shapes: nothing is read or written out of bounds, and threads and
 * positions in the batch do not matter. */
static void views_stand_alone(bird_policy policy) {
    const size_t shapes[][2] = {{1, 1}, {1, 300}, {2, 3}, {40, 40}, {41, 39}, {150, 90}, {7, 200}};
    enum { N = 84 };
    size_t slot = 3 * 40 * 40;
    bird_image images[N], *one = images;
    int64_t keys[N];
    float *pixels = malloc(N * slot * sizeof *pixels), *again = malloc(slot * sizeof *again);
    for (size_t i = 0; i < N; i++) {
        images[i] = noise(shapes[i % 7][0], shapes[i % 7][1]);
        keys[i] = (int64_t)(1000 * i);
    }
    CHECK_OK(bird_batch_fill(pixels, images, keys, N, policy, &CFG, 1, 2, 3, NULL, err));
    for (size_t i = 0; i < N; i++) {
        one = &images[i];
        CHECK_OK(bird_batch_fill(again, one, &keys[i], 1, policy, &CFG, 1, 2, 1, NULL, err));
        CHECK(memcmp(again, pixels + i * slot, slot * sizeof *again) == 0);
        bird_image_deinit(one);
    }
    free(pixels);
    free(again);
}

static void warps_stay_inside(void) {
    bird_image image = noise(23, 31);
    uint8_t view[64 * 64 * 3];
    bird_rng rng = bird_rng_stream(0, BIRD_STREAM_AUGMENT, 0, 0);
    for (int i = 0; i < 600; i++) {
        bird_geometry g = bird_geometry_whole(23, 31);
        size_t size = 1 + (size_t)bird_rng_below(&rng, 64);
        bird_geometry_draw_box(&g, 23, 31, 0.01, &rng);
        for (int k = 0; k < 4; k++) g.matrix[k] = bird_rng_uniform(&rng, -3, 3);
        for (int k = 0; k < 2; k++) g.shift[k] = bird_rng_uniform(&rng, -200, 200);
        g.flip = i % 2 == 1;
        CHECK_OK(bird_geometry_apply(view, &image, &g, size, (bird_filter)(i / 2 % 2), err));
    }
    bird_image_deinit(&image);
}

static void mixing_covers_all(void) {
    enum { N = 5, SIZE = 9 };
    float pixels[N][3 * SIZE * SIZE], targets[N][N];
    int64_t keys[N];
    for (int64_t round = 0; round < 200; round++) {
        bird_mix mix = {round % 3 == 0 ? 0 : 0.4, round % 3 == 1 ? 0 : 1.0};
        for (int i = 0; i < N; i++) {
            keys[i] = round * N + i;
            for (int p = 0; p < 3 * SIZE * SIZE; p++) pixels[i][p] = (float)i;
            for (int c = 0; c < N; c++) targets[i][c] = c == i;
        }
        CHECK_OK(bird_mix_batch(pixels[0], targets[0], keys, N, SIZE, N, mix, 3, 0, err));
        for (int i = 0; i < N; i++) {
            double mean = 0, other = (i + 1) % N, share = (double)targets[i][i];
            for (int p = 0; p < 3 * SIZE * SIZE; p++) mean += (double)pixels[i][p];
            mean /= 3 * SIZE * SIZE;
            CHECK(fabs(share + (double)targets[i][(i + 1) % N] - 1) < 1e-6);
            CHECK(fabs(mean - (share * i + (1 - share) * other)) < 1e-5);
        }
    }
    CHECK_OK(bird_mix_batch(pixels[0], targets[0], keys, 1, SIZE, N, (bird_mix){1, 1}, 3, 0, err));
}

static void bad_sources_stand_alone(void) {
    bird_image picture = noise(90, 60), images[3];
    bird_error outcomes[3];
    bird_source sources[3] = {
        {.kind = BIRD_ARRAY, .data = picture.pixels, .height = 90, .width = 60, .channels = 3},
        {.kind = BIRD_BYTES, .data = (const uint8_t *)"no picture", .size = 10},
        {.kind = BIRD_ARRAY, .data = picture.pixels, .height = 20, .width = 30, .channels = 3}};
    CHECK_OK(bird_batch_load(images, outcomes, sources, 3, 32, 2, NULL, err));
    CHECK(outcomes[0].code == BIRD_OK && images[0].height == 48 && images[0].width == 32);
    CHECK(outcomes[1].code != BIRD_OK && !images[1].pixels);
    CHECK(outcomes[2].code == BIRD_OK && images[2].height == 20 && images[2].width == 30);
    CHECK(memcmp(images[2].pixels, picture.pixels, 20 * 30 * 3) == 0);
    for (int i = 0; i < 3; i++) bird_image_deinit(&images[i]);
    bird_image_deinit(&picture);
}

static bird_status whole_batch(const bird_image *images, float *pixels, float *targets) {
    const int64_t keys[2] = {0, 8}, labels[2] = {0, 1};
    bird_source source = {.kind = BIRD_ARRAY, .data = images[0].pixels, .height = 50,
                          .width = 70, .channels = 3};
    int64_t draws[2];
    bird_image loaded;
    bird_error outcome;
    bird_status status = bird_sampler_balanced(draws, labels, 2, 2, 0, 0, NULL);
    if (status == BIRD_OK)
        status = bird_batch_load(&loaded, &outcome, &source, 1, 30, 1, NULL, NULL);
    if (status != BIRD_OK) return status;
    bird_image_deinit(&loaded);
    if (outcome.code != BIRD_OK) return outcome.code;
    for (uint64_t epoch = 0; status == BIRD_OK && epoch < 12; epoch++)
        status = bird_batch_fill(pixels, images, keys, 2, (bird_policy)(epoch % 3), &CFG, 0, epoch,
                                 1, NULL, NULL);
    if (status != BIRD_OK) return status;
    return bird_mix_batch(pixels, targets, keys, 2, 40, 2, (bird_mix){1, 0}, 0, 0, NULL);
}

static void every_allocation_may_fail(void) {
    bird_image images[2] = {noise(50, 70), noise(90, 60)};
    float *pixels = malloc(2 * 3 * 40 * 40 * sizeof *pixels), targets[4] = {1, 0, 0, 1};
    bird_status status = BIRD_NOMEM;
    for (long n = 1; status != BIRD_OK && n < 2000; n++) {
        bird_alloc_fail_at(n);
        status = whole_batch(images, pixels, targets);
        CHECK(status == BIRD_OK || status == BIRD_NOMEM);
    }
    bird_alloc_fail_at(0);
    CHECK(status == BIRD_OK);
    for (int i = 0; i < 2; i++) bird_image_deinit(&images[i]);
    free(pixels);
}

int main(void) {
    streams_are_fixed();
    numbers_keep_their_bounds();
    beta_has_its_moments();
    orders_are_permutations();
    for (int policy = BIRD_POLICY_NONE; policy <= BIRD_POLICY_STRONG; policy++)
        views_stand_alone((bird_policy)policy);
    warps_stay_inside();
    mixing_covers_all();
    bad_sources_stand_alone();
    every_allocation_may_fail();
    return check_failures;
}
