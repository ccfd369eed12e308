#include "data/mix.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

static void blend(float *own, const float *other, size_t n, float share) {
    for (size_t i = 0; i < n; i++) own[i] = share * own[i] + (1.0f - share) * other[i];
}

/* Copy the pixels of the other image to a box of about 1 - share of the area, with a random centre
 * and clipped at the edges. Return the exact share that is left. */
static double cover(float *own, const float *other, size_t size, double share, bird_rng *rng) {
    double half = (double)size * sqrt(1.0 - share) / 2;
    double x = (double)bird_rng_below(rng, size), y = (double)bird_rng_below(rng, size);
    size_t left = (size_t)fmax(0, nearbyint(x - half)), top = (size_t)fmax(0, nearbyint(y - half));
    size_t right = (size_t)fmin((double)size, nearbyint(x + half));
    size_t bottom = (size_t)fmin((double)size, nearbyint(y + half));
    if (right <= left || bottom <= top) return 1.0;
    for (size_t plane = 0; plane < 3; plane++)
        for (size_t row = top; row < bottom; row++) {
            size_t at = (plane * size + row) * size + left;
            memcpy(own + at, other + at, (right - left) * sizeof *own);
        }
    return 1.0 - (double)((right - left) * (bottom - top)) / (double)(size * size);
}

static void mix_one(float *pixels, float *targets, const float *next_pixels,
                    const float *next_targets, size_t size, size_t n_classes, bird_mix mix,
                    bird_rng *rng) {
    bool cut = mix.cutmix > 0;
    double share;
    if (cut && mix.mixup > 0) cut = bird_rng_below(rng, 2) == 1;
    share = bird_rng_beta(rng, cut ? mix.cutmix : mix.mixup);
    /* The mixing of the neighbour is independent: with the smaller share, the batch could
     * contain one image almost twice and another one not at all. */
    share = fmax(share, 1.0 - share);
    if (cut)
        share = cover(pixels, next_pixels, size, share, rng);
    else
        blend(pixels, next_pixels, 3 * size * size, (float)share);
    blend(targets, next_targets, n_classes, (float)share);
}

bird_status bird_mix_batch(float *pixels, float *targets, const int64_t *keys, size_t n,
                           size_t size, size_t n_classes, bird_mix mix, uint64_t seed,
                           uint64_t epoch, bird_error *err) {
    size_t slot = 3 * size * size;
    float *first; /* owned: the first sample before mixing, then its target */
    if (size < 1) return bird_fail(err, BIRD_SHAPE, "images to mix must not be empty");
    if (n < 2) return BIRD_OK;
    first = bird_alloc((slot + n_classes) * sizeof *first);
    if (!first) return bird_fail(err, BIRD_NOMEM, "out of memory mixing a batch of %zu", n);
    memcpy(first, pixels, slot * sizeof *first);
    memcpy(first + slot, targets, n_classes * sizeof *first);
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        bird_rng rng = bird_rng_stream(seed, BIRD_STREAM_MIX, epoch, (uint64_t)keys[i]);
        mix_one(pixels + i * slot, targets + i * n_classes,
                last ? first : pixels + (i + 1) * slot,
                last ? first + slot : targets + (i + 1) * n_classes, size, n_classes, mix, &rng);
    }
    bird_free(first);
    return BIRD_OK;
}
