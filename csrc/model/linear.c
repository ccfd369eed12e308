#include "model/linear.h"

#include <string.h>

/* Sixteen partial sums, added in a tree: the compiler can use any vectors without changing
 * the order, and rounding errors are small. */
enum { LANES = 16 };

static float dot(const float *a, const float *b, size_t n) {
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += a[i + j] * b[i + j];
    for (size_t j = 0; i < n; i++, j++) lanes[j] += a[i] * b[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return lanes[0];
}

void bird_linear(float *dst, const float *src, const float *weights, const float *bias, size_t n,
                 size_t ic, size_t oc) {
    for (size_t row = 0; row < n; row++)
        for (size_t o = 0; o < oc; o++)
            dst[row * oc + o] =
                dot(src + row * ic, weights + o * ic, ic) + (bias ? bias[o] : 0.0f);
}

/* y += a x */
static void add_scaled(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

void bird_linear_backward(float *diff_src, float *diff_weights, float *diff_bias,
                          const float *diff_dst, const float *src, const float *weights, size_t n,
                          size_t ic, size_t oc) {
    memset(diff_src, 0, n * ic * sizeof *diff_src);
    memset(diff_weights, 0, oc * ic * sizeof *diff_weights);
    memset(diff_bias, 0, oc * sizeof *diff_bias);
    for (size_t row = 0; row < n; row++) {
        for (size_t o = 0; o < oc; o++) {
            float d = diff_dst[row * oc + o];
            add_scaled(diff_src + row * ic, d, weights + o * ic, ic);
            add_scaled(diff_weights + o * ic, d, src + row * ic, ic);
            diff_bias[o] += d;
        }
    }
}
