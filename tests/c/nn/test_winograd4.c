/* Compare F(4x4, 3x3) of every kernel that this machine runs with plain loops. With small integers
 * and weights that are divisible by its fractions, every intermediate number is whole, so the
 * result must be exact, in bfloat16 rounded once. With other numbers the result must be close to
 * double precision, and have the same bits however the work is divided. */
#include <math.h>

#include "nn/winograd4.h"
#include "numbers.h"

typedef struct layer {
    bird_conv conv;
    int group;
    bool relu;
    const float *src, *weights, *bias; /* (n, ic, h, w) in groups, (oc, ic, 3, 3), (oc) */
} layer;

/* Return the offset of a number of (n, c, h, w) with `group` channels side by side. */
static size_t place_of(const layer *l, int channels, int n, int c, int y, int x) {
    const int group = l->group ? l->group : channels;
    const int plane = (n * channels / group + c / group) * l->conv.ih + y;
    return (size_t)(plane * l->conv.iw + x) * (size_t)group + (size_t)(c % group);
}

static double conv_at(const layer *l, int n, int o, int y, int x) {
    const bird_conv *c = &l->conv;
    double sum = l->bias[o];
    for (int i = 0; i < c->ic; i++)
        for (int k = 0; k < 9; k++) {
            const int iy = y + k / 3 - 1, ix = x + k % 3 - 1;
            if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw) continue;
            sum += (double)l->src[place_of(l, c->ic, n, i, iy, ix)] *
                   (double)l->weights[(o * c->ic + i) * 9 + k];
        }
    return l->relu && sum < 0 ? 0 : sum;
}

static size_t out_count(const layer *l) {
    return (size_t)(l->conv.n * l->conv.oc * l->conv.ih * l->conv.iw);
}

static size_t in_count(const layer *l) {
    return (size_t)(l->conv.n * l->conv.ic * l->conv.ih * l->conv.iw);
}

/* Return the upper halves of floats that are bfloat16 numbers. The caller frees them. */
static uint16_t *halves_of(const float *from, size_t n) {
    uint16_t *to = bird_alloc(n * sizeof *to);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
    }
    return to;
}

static void from_halves(float *to, const uint16_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

/* Return dst as floats, computed by the kernel with the work divided for `n_threads`. The caller
 * frees it. */
static float *result(const bird_winograd4_kernel *kernel, const layer *l, int n_threads) {
    const bird_conv *c = &l->conv;
    const bird_winograd4 of = bird_winograd4_of(kernel, c, l->group, l->relu, n_threads);
    float *u = bird_alloc(bird_winograd4_weights_size(c->oc, c->ic) * sizeof *u);
    float *scratch = bird_alloc(bird_winograd4_scratch(&of, n_threads) * sizeof *scratch);
    float *dst = bird_alloc(out_count(l) * sizeof *dst);
    bird_winograd4_weights(kernel, u, l->weights, c->oc, c->ic, n_threads);
    if (kernel->bf16) {
        uint16_t *src = halves_of(l->src, in_count(l));
        uint16_t *halves = bird_alloc(out_count(l) * sizeof *halves);
        bird_winograd4_forward(&of, halves, src, u, l->bias, scratch, n_threads);
        from_halves(dst, halves, out_count(l));
        bird_free(halves);
        bird_free(src);
    } else {
        bird_winograd4_forward(&of, dst, l->src, u, l->bias, scratch, n_threads);
    }
    bird_free(scratch);
    bird_free(u);
    return dst;
}

/* Return the largest difference from plain loops; *largest is the largest number. */
static double difference(const layer *l, const float *dst, double *largest) {
    const bird_conv *c = &l->conv;
    double worst = 0;
    *largest = 0;
    for (int n = 0; n < c->n; n++)
        for (int o = 0; o < c->oc; o++)
            for (int y = 0; y < c->ih; y++)
                for (int x = 0; x < c->iw; x++) {
                    const double expected = (double)rounded((float)conv_at(l, n, o, y, x));
                    const double found = (double)dst[place_of(l, c->oc, n, o, y, x)];
                    worst = fmax(worst, fabs(found - expected));
                    *largest = fmax(*largest, fabs(expected));
                }
    return worst;
}

static void check(const bird_winograd4_kernel *kernel, bird_conv conv, int group, bool whole) {
    static const int thread_counts[] = {1, 2, 5, 64};
    const size_t count = (size_t)(conv.oc * conv.ic * 9);
    float *src = numbers((size_t)(conv.n * conv.ic * conv.ih * conv.iw), whole);
    float *weights = numbers(count, whole);
    float *bias = numbers((size_t)conv.oc, whole), *first = NULL;
    layer l = {.conv = conv, .group = group, .relu = conv.ih % 2 == 0, .src = src,
               .weights = weights, .bias = bias};
    const size_t in = in_count(&l);

    for (size_t i = 0; whole && i < count; i++) weights[i] = 576 * fmodf(weights[i], 2.0f);
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        float *dst = result(kernel, &l, thread_counts[t]);
        double largest, worst = difference(&l, dst, &largest);
        CHECK(!first || memcmp(first, dst, out_count(&l) * sizeof *dst) == 0);
        /* A sum near the middle between two bfloat16 numbers may round either way. */
        if (worst > (whole ? 0 : (kernel->bf16 ? 1.0 / 256 : 3e-5) * largest)) {
            fprintf(stderr, "%s: %d x %d->%d at %dx%d, group %d, %d threads: off by %g of %g\n",
                    kernel->isa, conv.n, conv.ic, conv.oc, conv.ih, conv.iw, group,
                    thread_counts[t], worst, largest);
            check_failures++;
        }
        if (first)
            bird_free(dst);
        else
            first = dst;
    }
    /* Compute the last image alone, so that its tiles have other neighbours. */
    l.src += in / (size_t)conv.n * (size_t)(conv.n - 1);
    l.conv.n = 1;
    float *alone = result(kernel, &l, 1);
    CHECK(memcmp(alone, first + (size_t)(conv.n - 1) * out_count(&l),
                 out_count(&l) * sizeof *alone) == 0);
    bird_free(alone);
    bird_free(first);
    bird_free(bias);
    bird_free(weights);
    bird_free(src);
}

static void check_kernel(const bird_winograd4_kernel *kernel) {
    static const int shapes[][5] = {/* n, ic, oc, h, w */
                                    {1, 16, 32, 1, 1},  {2, 16, 32, 2, 3}, {3, 32, 32, 7, 7},
                                    {1, 48, 64, 5, 9},  {2, 64, 32, 8, 4}, {1, 128, 96, 13, 6},
                                    {3, 16, 64, 9, 21}, {2, 256, 64, 3, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int group = 0; group <= 16; group += 8) {
            const int *of = shapes[s];
            const bird_conv conv = {.n = of[0], .ic = of[1], .oc = of[2], .ih = of[3],
                                    .iw = of[4], .kernel = 3, .stride = 1, .pad = 1};
            if (group % kernel->lanes != 0) continue;
            check(kernel, conv, group, true);
            check(kernel, conv, group, false);
        }
}

/* NaN stays NaN, with and without ReLU. */
static void check_nan(const bird_winograd4_kernel *kernel) {
    enum { IC = 16, OC = 32, SIDE = 4 };
    for (int relu = 0; relu < 2; relu++) {
        float *src = integers(IC * SIDE * SIDE), *weights = integers(OC * IC * 9);
        float *bias = integers(OC);
        src[0] = NAN;
        const layer l = {.conv = {.n = 1, .ic = IC, .oc = OC, .ih = SIDE, .iw = SIDE, .kernel = 3,
                                  .stride = 1, .pad = 1},
                         .relu = relu, .src = src, .weights = weights, .bias = bias};
        float *dst = result(kernel, &l, 1);
        CHECK(isnan(dst[0]));
        bird_free(dst);
        bird_free(bias);
        bird_free(weights);
        bird_free(src);
    }
}

int main(void) {
    const bird_winograd4_kernel *kernel;
    for (int i = 0; (kernel = bird_winograd4_at(i)) != NULL; i++) {
        precision = kernel->bf16 ? BIRD_BFLOAT16 : BIRD_FLOAT32;
        check_kernel(kernel);
        check_nan(kernel);
    }
    return check_failures;
}
