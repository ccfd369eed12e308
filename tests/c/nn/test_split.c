/* Compare convolutions of split numbers with plain loops in double precision. Small integers have
 * no low half, so the result must be exact. With other numbers it must be close, and have the same
 * bits however the work is divided. */
#include <math.h>

#include "nn/split.h"
#include "numbers.h"

typedef struct layer {
    bird_conv conv;
    bool relu;
    const float *src, *weights, *bias; /* (n, ih, iw, ic), (oc, ic, side, side), (oc) */
    const float *residual;             /* (n, oh, ow, oc); NULL: none */
} layer;

static size_t in_count(const bird_conv *c) {
    return (size_t)(c->n * c->ic * c->ih * c->iw);
}

static size_t out_count(const bird_conv *c) {
    return (size_t)(c->n * c->oc * bird_conv_out(c, c->ih) * bird_conv_out(c, c->iw));
}

static size_t weights_count(const bird_conv *c) {
    return (size_t)(c->oc * c->ic * c->kernel * c->kernel);
}

/* Return output channel o of pixel (y, x) before the ReLU, without bias and residual. */
static double conv_at(const layer *l, int n, int y, int x, int o) {
    const bird_conv *c = &l->conv;
    const int places = c->kernel * c->kernel;
    double sum = 0;
    for (int k = 0; k < places; k++) {
        const int iy = y * c->stride + k / c->kernel - c->pad;
        const int ix = x * c->stride + k % c->kernel - c->pad;
        if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw) continue;
        for (int i = 0; i < c->ic; i++)
            sum += (double)l->src[((n * c->ih + iy) * c->iw + ix) * c->ic + i] *
                   (double)l->weights[(o * c->ic + i) * places + k];
    }
    return sum;
}

/* Return dst, computed by `n_threads` threads. The caller frees it. */
static float *result(const layer *l, int n_threads) {
    const bird_conv *c = &l->conv;
    const bird_split of = bird_split_of(c, l->residual != NULL, l->relu, n_threads);
    float *weights = bird_alloc(weights_count(c) * sizeof *weights);
    float *scratch = bird_alloc(bird_split_scratch(&of) * sizeof *scratch);
    float *dst = bird_alloc(out_count(c) * sizeof *dst);

    if (l->residual) memcpy(dst, l->residual, out_count(c) * sizeof *dst);
    bird_split_weights(weights, l->weights, c->oc, c->ic, c->kernel, n_threads);
    bird_split_forward(&of, dst, l->src, weights, l->bias, scratch, n_threads);
    bird_free(scratch);
    bird_free(weights);
    return dst;
}

/* Return the largest difference from plain loops; *largest is the largest number. */
static double difference(const layer *l, const float *dst, double *largest) {
    const bird_conv *c = &l->conv;
    const int oh = bird_conv_out(c, c->ih), ow = bird_conv_out(c, c->iw);
    double worst = 0;
    size_t at = 0;
    *largest = 0;
    for (int n = 0; n < c->n; n++)
        for (int y = 0; y < oh; y++)
            for (int x = 0; x < ow; x++)
                for (int o = 0; o < c->oc; o++, at++) {
                    double expected = conv_at(l, n, y, x, o) + (double)l->bias[o];
                    if (l->residual) expected += (double)l->residual[at];
                    if (l->relu && expected < 0) expected = 0;
                    worst = fmax(worst, fabs((double)dst[at] - expected));
                    *largest = fmax(*largest, fabs(expected));
                }
    return worst;
}

/* Compute the last image alone, so that its pixels have other neighbours. */
static void check_alone(layer l, const float *all) {
    const size_t skipped = (size_t)(l.conv.n - 1);
    const size_t in = in_count(&l.conv) / (size_t)l.conv.n;
    const size_t out = out_count(&l.conv) / (size_t)l.conv.n;
    float *alone;

    l.src += skipped * in;
    if (l.residual) l.residual += skipped * out;
    l.conv.n = 1;
    alone = result(&l, 1);
    CHECK(memcmp(alone, all + skipped * out, out * sizeof *alone) == 0);
    bird_free(alone);
}

static void check(bird_conv conv, bool sum, bool whole) {
    static const int thread_counts[] = {1, 2, 5, 64};
    float *src = numbers(in_count(&conv), whole), *bias = numbers((size_t)conv.oc, whole);
    float *weights = numbers(weights_count(&conv), whole);
    float *residual = sum ? numbers(out_count(&conv), whole) : NULL, *first = NULL;
    const layer l = {.conv = conv, .relu = conv.ih % 2 == 0, .src = src, .weights = weights,
                     .bias = bias, .residual = residual};

    CHECK(bird_split_fits(&conv));
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++) {
        float *dst = result(&l, thread_counts[t]);
        double largest, worst = difference(&l, dst, &largest);
        CHECK(!first || memcmp(first, dst, out_count(&conv) * sizeof *dst) == 0);
        if (worst > (whole ? 0 : 2e-5) * largest) {
            fprintf(stderr, "%d x %d->%d k%d s%d at %dx%d, %d threads: off by %g of %g\n", conv.n,
                    conv.ic, conv.oc, conv.kernel, conv.stride, conv.ih, conv.iw,
                    thread_counts[t], worst, largest);
            check_failures++;
        }
        if (first)
            bird_free(dst);
        else
            first = dst;
    }
    check_alone(l, first);
    bird_free(first);
    bird_free(residual);
    bird_free(weights);
    bird_free(bias);
    bird_free(src);
}

/* A number that is not finite must not become one that is. */
static void check_nan(void) {
    const bird_conv conv = {.n = 1, .ic = 32, .oc = 32, .ih = 1, .iw = 3, .kernel = 1, .stride = 1};
    float *src = integers(in_count(&conv)), *weights = integers(weights_count(&conv));
    float *bias = integers((size_t)conv.oc);
    const layer l = {.conv = conv, .relu = true, .src = src, .weights = weights, .bias = bias};
    src[32] = NAN; /* a channel of the pixel in the middle */
    float *dst = result(&l, 1);
    for (int o = 0; o < conv.oc; o++) {
        CHECK(isfinite(dst[o]) && isfinite(dst[64 + o]));
        CHECK(isnan(dst[32 + o]));
    }
    bird_free(dst);
    bird_free(bias);
    bird_free(weights);
    bird_free(src);
}

int main(void) {
    static const int shapes[][7] = {/* n, ic, oc, h, w, side, stride */
                                    {1, 32, 32, 1, 1, 1, 1},   {2, 64, 96, 5, 7, 1, 1},
                                    {3, 32, 64, 6, 9, 1, 2},   {2, 512, 32, 40, 20, 1, 1},
                                    {1, 32, 64, 1, 1, 3, 1},   {3, 64, 32, 7, 7, 3, 1},
                                    {2, 96, 64, 2, 33, 3, 1},  {5, 64, 32, 16, 18, 3, 1},
                                    {1, 256, 640, 4, 5, 1, 1}, {2, 128, 160, 6, 3, 3, 1}};
    bird_conv conv = {.n = 1, .ic = 32, .oc = 32, .ih = 1, .iw = 1, .kernel = 1, .stride = 1};
    if (!bird_split_fits(&conv)) {
        printf("%s: no AMX, so there is nothing to test\n", bird_isa_name());
        return 0;
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int *shape = shapes[s];
        conv = (bird_conv){.n = shape[0], .ic = shape[1], .oc = shape[2], .ih = shape[3],
                           .iw = shape[4], .kernel = shape[5], .stride = shape[6],
                           .pad = shape[5] / 2};
        for (int sum = 0; sum < 2; sum++)
            for (int whole = 0; whole < 2; whole++) check(conv, sum, whole);
    }
    check_nan();
    conv.ic = 48;
    CHECK(!bird_split_fits(&conv));
    return check_failures;
}
