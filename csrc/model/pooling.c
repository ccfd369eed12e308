#include "model/pooling.h"

#include <math.h>

/* Eight partial sums in a fixed order; see linear.c. */
enum { LANES = 8 };

static float sum_lanes(float lanes[LANES]) {
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return lanes[0];
}

static float average(const float *x, size_t n) {
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += x[i + j];
    for (size_t j = 0; i < n; i++, j++) lanes[j] += x[i];
    return sum_lanes(lanes) / (float)n;
}

static float cubed(float x) {
    float clamped = x < 1e-6f ? 1e-6f : x;
    return clamped * clamped * clamped;
}

static float generalised_mean(const float *x, size_t n) {
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += cubed(x[i + j]);
    for (size_t j = 0; i < n; i++, j++) lanes[j] += cubed(x[i]);
    return cbrtf(sum_lanes(lanes) / (float)n);
}

void bird_pool_features(float *dst, const float *src, size_t n, size_t c, size_t pixels,
                        bird_pooling pooling) {
    for (size_t i = 0; i < n * c; i++)
        dst[i] = pooling == BIRD_POOL_GEM ? generalised_mean(src + i * pixels, pixels)
                                          : average(src + i * pixels, pixels);
}
