#include "model/pooling.h"

#include <math.h>
#include <string.h>

static float cubed(float x) {
    float clamped = x < 1e-6f ? 1e-6f : x;
    return clamped * clamped * clamped;
}

/* dst (c) = mean of src (pixels, c). Each channel has one sum, so the compiler can vectorise over
 * channels, and the order of summation is that of the pixels. */
static void average(float *dst, const float *src, size_t pixels, size_t c) {
    memset(dst, 0, c * sizeof *dst);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < c; i++) dst[i] += src[p * c + i];
    for (size_t i = 0; i < c; i++) dst[i] /= (float)pixels;
}

static void generalised_mean(float *dst, const float *src, size_t pixels, size_t c) {
    memset(dst, 0, c * sizeof *dst);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < c; i++) dst[i] += cubed(src[p * c + i]);
    for (size_t i = 0; i < c; i++) dst[i] = cbrtf(dst[i] / (float)pixels);
}

void bird_pool_features(float *dst, const float *src, size_t pixels, size_t c,
                        bird_pooling pooling) {
    if (pooling == BIRD_POOL_GEM)
        generalised_mean(dst, src, pixels, c);
    else
        average(dst, src, pixels, c);
}

void bird_channels_first(float *dst, const float *src, size_t pixels, size_t c) {
    for (size_t i = 0; i < c; i++)
        for (size_t p = 0; p < pixels; p++) dst[i * pixels + p] = src[p * c + i];
}
