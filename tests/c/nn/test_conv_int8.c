/* Compare int8 convolutions with plain loops. Weights are whole numbers, the largest of each filter
 * is `largest`, and scales are powers of two. So every kernel must give exactly the same result,
 * rounded once, in batches of 1 and 3 and on any number of threads. */
#include <math.h>

#include "nn/conv_int8.h"
#include "nn/plan_build.h"
#include "numbers.h"

static int largest; /* largest weight: 127, or 64 if kernels add two products in 16 bits */

typedef struct layer {
    bird_conv conv;
    bool images; /* src may be negative, like the network's input */
    bool sum, both, relu; /* `both`: the residual may be negative */
    float range;          /* of dst */
    const float *src, *residual; /* (n, ic, ih, iw), (n, oc, oh, ow) */
    const float *weights, *bias; /* (oc, ic, k, k), (oc) */
    size_t count, n_dst;
    float *dst; /* raw bytes, (n, oc, oh, ow) */
    int n_threads;
    float scale;
    int zero;
} layer;

static void plain(const void *owner, int key, int first, int n, float *weights, float *bias) {
    const layer *from = owner;
    const size_t each = from->count / (size_t)from->conv.oc;
    (void)key;
    if (weights)
        memcpy(weights, from->weights + (size_t)first * each,
               (size_t)n * each * sizeof *weights);
    if (bias) memcpy(bias, from->bias + first, (size_t)n * sizeof *bias);
}

/* Write 1 x 1 weights that multiply by 1, so that the test can make a residual with a zero
 * point. */
static void identity(const void *owner, int key, int first, int n, float *weights, float *bias) {
    const size_t c = (size_t)((const layer *)owner)->conv.oc;
    (void)key;
    if (weights) {
        memset(weights, 0, (size_t)n * c * sizeof *weights);
        for (size_t i = 0; i < (size_t)n; i++) weights[i * c + (size_t)first + i] = (float)largest;
    }
    if (bias)
        for (int i = 0; i < n; i++) bias[i] = (float)(-largest * 8);
}

/* Append a residual of bytes: with steps of 1 from 0, or with steps of 16 around 0. */
static bird_status push_residual(bird_plan *plan, bird_bytes *out, bird_value from,
                                 const layer *asked, bird_packed *packed, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv same = {.n = asked->conv.n, .ic = asked->conv.oc, .oc = asked->conv.oc,
                            .ih = bird_conv_out(&asked->conv, asked->conv.ih),
                            .iw = bird_conv_out(&asked->conv, asked->conv.iw), .kernel = 1,
                            .stride = 1};
    bird_bytes bytes;
    BIRD_TRY(bird_bytes_of(plan, &bytes, from, 255, false, err));
    if (asked->both)
        BIRD_TRY(bird_conv_int8(plan, &bytes, &bytes, NULL, &same, false, 127 * 16, packed, 0,
                                err));
    *out = bytes;
cleanup:
    return status;
}

static bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    layer *asked = context;
    const bird_conv *conv = &asked->conv;
    bird_plan *plan = NULL;
    bird_packed *packed = NULL, *ones = NULL;
    bird_value input, given = BIRD_NO_VALUE, found;
    bird_bytes src, residual, dst;

    BIRD_TRY(bird_packed_create(&packed, 1, plain, asked, err));
    BIRD_TRY(bird_packed_create(&ones, 1, identity, asked, err));
    BIRD_TRY(bird_plan_create(&plan, asked->n_threads, err));
    BIRD_TRY(bird_plan_input(plan, &input, conv->n, conv->ic, conv->ih, conv->iw, err));
    BIRD_TRY(bird_bytes_of(plan, &src, input, (asked->images ? 127.0f : 255.0f) / 4, asked->images,
                           err));
    if (asked->sum) {
        BIRD_TRY(bird_plan_input(plan, &given, conv->n, conv->oc, bird_conv_out(conv, conv->ih),
                                 bird_conv_out(conv, conv->iw), err));
        BIRD_TRY(push_residual(plan, &residual, given, asked, ones, err));
    }
    BIRD_TRY(bird_conv_int8(plan, &dst, &src, asked->sum ? &residual : NULL, conv, asked->relu,
                            asked->range, packed, 0, err));
    asked->scale = dst.scale;
    asked->zero = dst.zero;
    BIRD_TRY(bird_plan_output(plan, &found, dst.value, err));
    BIRD_TRY(bird_plan_finish(plan, err));
    BIRD_TRY(bird_plan_bind(plan, input, (void *)asked->src, err));
    if (asked->sum) BIRD_TRY(bird_plan_bind(plan, given, (void *)asked->residual, err));
    BIRD_TRY(bird_plan_execute(plan, job, err));
    memcpy(asked->dst, bird_plan_data(plan, found), asked->n_dst * sizeof(float));
cleanup:
    bird_plan_destroy(plan);
    bird_packed_destroy(packed);
    bird_packed_destroy(ones);
    return status;
}

static float conv_at(const layer *l, int n, int oc, int y, int x) {
    const bird_conv *c = &l->conv;
    float sum = l->bias[oc];
    for (int ic = 0; ic < c->ic; ic++)
        for (int k = 0; k < c->kernel * c->kernel; k++) {
            const int iy = y * c->stride + k / c->kernel - c->pad;
            const int ix = x * c->stride + k % c->kernel - c->pad;
            if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw) continue;
            sum += l->src[((n * c->ic + ic) * c->ih + iy) * c->iw + ix] *
                   l->weights[(oc * c->ic + ic) * c->kernel * c->kernel + k];
        }
    return sum;
}

/* Return the byte of a value: the nearest step, ties to even, within the range. */
static float byte_of(const layer *l, float value) {
    const float steps = rintf(value / l->scale) + (float)l->zero;
    return steps < 0 ? 0 : steps > 255 ? 255 : steps;
}

static void check(layer *l) {
    const int oh = bird_conv_out(&l->conv, l->conv.ih), ow = bird_conv_out(&l->conv, l->conv.iw);
    int wrong = 0, i = 0;
    CHECK_OK(bird_executor_run(execute, l, NULL, err));
    for (int n = 0; n < l->conv.n; n++)
        for (int oc = 0; oc < l->conv.oc; oc++)
            for (int y = 0; y < oh; y++)
                for (int x = 0; x < ow; x++, i++) {
                    float value = conv_at(l, n, oc, y, x);
                    if (l->sum && l->both)
                        value += 16 * rintf((float)largest * (l->residual[i] - 8) / 16);
                    if (l->sum && !l->both) value += l->residual[i];
                    if (l->relu && value < 0) value = 0;
                    wrong += l->dst[i] != byte_of(l, value);
                }
    if (!wrong) return;
    fprintf(stderr, "%s: %d x %d->%d k%d s%d at %dx%d sum %d both %d relu %d: %d of %d are wrong\n",
            bird_isa_name(), l->conv.n, l->conv.ic, l->conv.oc, l->conv.kernel, l->conv.stride,
            l->conv.ih, l->conv.iw, l->sum, l->both, l->relu, wrong, i);
    check_failures++;
}

/* Check the largest bytes (in images, of either sign) with filters of the largest weights of one
 * sign. */
static void check_largest(bird_conv conv, bool images) {
    const size_t out = (size_t)(conv.n * conv.oc * bird_conv_out(&conv, conv.ih) *
                                bird_conv_out(&conv, conv.iw));
    const size_t each = (size_t)(conv.ic * conv.kernel * conv.kernel);
    const size_t n_src = (size_t)(conv.n * conv.ic * conv.ih * conv.iw);
    float *src = integers(n_src), *bias = integers((size_t)conv.oc);
    float *weights = integers((size_t)conv.oc * each), *dst = bird_alloc(out * sizeof *dst);
    layer l = {.conv = conv, .images = images, .src = src, .weights = weights, .bias = bias,
               .n_threads = 2,
               .range = 127.0f * 65536, .count = (size_t)conv.oc * each, .n_dst = out, .dst = dst};

    for (size_t i = 0; i < n_src; i++)
        src[i] = images ? (i / (size_t)(conv.ih * conv.iw) % 2 ? 127.0f : -127.0f) / 4
                        : 255.0f / 4;
    for (size_t i = 0; i < l.count; i++)
        weights[i] = (float)(i / each % 2 ? largest : -largest);
    check(&l);
    bird_free(dst);
    bird_free(weights);
    bird_free(bias);
    bird_free(src);
}

/* Return quarters from 0 to 2, with the largest value of a byte among them, or whole numbers from 0
 * to 15. The caller frees them. */
static float *bytes(size_t n, bool quarters) {
    float *values = integers(n);
    for (size_t i = 0; i < n; i++)
        values[i] = quarters ? (i % 50 ? (values[i] + 4) / 4 : 255.0f / 4) : fabsf(values[i]) * 3;
    return values;
}

static void check_conv(bird_conv conv, int variant, bool images) {
    const size_t out = (size_t)(conv.n * conv.oc * bird_conv_out(&conv, conv.ih) *
                                bird_conv_out(&conv, conv.iw));
    const size_t each = (size_t)(conv.ic * conv.kernel * conv.kernel);
    float *src = bytes((size_t)(conv.n * conv.ic * conv.ih * conv.iw), true);
    float *residual = bytes(out, false), *bias = integers((size_t)conv.oc);
    float *weights = integers((size_t)conv.oc * each);
    float *dst = bird_alloc(out * sizeof *dst), *again = bird_alloc(out * sizeof *again);
    layer l = {.conv = conv, .images = images, .sum = variant & 1, .both = variant & 2,
               .relu = variant & 4, .src = src, .residual = residual, .weights = weights,
               .bias = bias, .count = (size_t)conv.oc * each, .n_dst = out, .dst = dst,
               .n_threads = 2};

    for (size_t i = 1; images && i < (size_t)(conv.n * conv.ic * conv.ih * conv.iw); i += 2)
        src[i] = i % 50 == 1 ? -127.0f / 4 : -src[i];
    if (images)
        for (size_t i = 0; i < (size_t)(conv.n * conv.ic * conv.ih * conv.iw); i += 50)
            src[i] = 127.0f / 4;
    l.range = l.relu ? 255.0f * 4 : 127.0f * 4;
    for (int oc = 0; oc < conv.oc; oc++)
        weights[(size_t)oc * each + (size_t)oc % each] = (float)(oc % 2 ? largest : -largest);
    check(&l);
    l.dst = again;
    for (int n_threads = 1; n_threads <= 12; n_threads += n_threads < 4 ? 1 : 8) {
        l.n_threads = n_threads;
        CHECK_OK(bird_executor_run(execute, &l, NULL, err));
        CHECK(memcmp(again, dst, out * sizeof *dst) == 0);
    }
    bird_free(again);
    bird_free(dst);
    bird_free(weights);
    bird_free(bias);
    bird_free(residual);
    bird_free(src);
}

int main(void) {
    const bird_conv convs[] = {
        {.n = 3, .ic = 64, .ih = 9, .iw = 11, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 72, .ih = 9, .iw = 10, .oc = 80, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 128, .ih = 8, .iw = 6, .oc = 128, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 1, .ic = 32, .ih = 13, .iw = 7, .oc = 48, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 3, .ic = 64, .ih = 7, .iw = 9, .oc = 128, .kernel = 1, .stride = 1, .pad = 0},
        {.n = 1, .ic = 128, .ih = 15, .iw = 9, .oc = 64, .kernel = 1, .stride = 2, .pad = 0},
        {.n = 1, .ic = 512, .ih = 1, .iw = 1, .oc = 16, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 512, .ih = 7, .iw = 7, .oc = 64, .kernel = 1, .stride = 1, .pad = 0},
    };
    const bird_conv stems[] = {
        {.n = 3, .ic = 3, .ih = 32, .iw = 46, .oc = 64, .kernel = 7, .stride = 2, .pad = 3},
        {.n = 1, .ic = 3, .ih = 33, .iw = 32, .oc = 32, .kernel = 3, .stride = 2, .pad = 1},
    };
    if (!bird_isa_has_int8()) return 0;
    largest = bird_isa_largest_int8_weight();
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        check_largest(convs[i], false);
        for (int variant = 0; variant < 8; variant++) check_conv(convs[i], variant, false);
    }
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        check_largest(stems[i], true);
        check_conv(stems[i], 4, true); /* with ReLU */
    }
    return check_failures;
}
