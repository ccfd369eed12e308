/* Compare each operation of a plan with plain loops. All numbers are small integers, whose sums are
 * exact in float32, so every kernel must give exactly the same result, in bfloat16 the exact sum
 * rounded once. The weights for F(4x4) are divisible by its fractions. The tests use odd sizes,
 * channels that do not fill a vector, and batches of 1 and 3. */
#include "model/linear.h"
#include "model/pooling.h"
#include "nn/conv.h"
#include "nn/conv_table.h"
#include "nn/plan_build.h"
#include "nn/pool.h"
#include "numbers.h"

typedef struct weights {
    const float *weights, *bias; /* (oc, ic, k, k), (oc) */
    size_t count;
    int oc;
} weights;

static void plain(const void *owner, int key, int first, int n, float *to, float *bias) {
    const weights *from = owner;
    const size_t each = from->count / (size_t)from->oc;
    (void)key;
    if (to) memcpy(to, from->weights + (size_t)first * each, (size_t)n * each * sizeof *to);
    if (bias) memcpy(bias, from->bias + first, (size_t)n * sizeof *bias);
}

enum kind { CONV, MAX_POOL, AVERAGE_POOL };

typedef struct layer {
    enum kind kind;
    bird_conv conv;
    bool sum, relu;
    weights of_conv;
    bird_pool pool;
    bool blocked; /* the pool's source is nChw16c, as the first convolution may write it */
    const float *src, *residual; /* (n, ic, ih, iw), (n, oc, oh, ow) */
    float *dst;                  /* (n, oc, oh, ow) */
    size_t dst_count;
} layer;

static bird_status push_conv(bird_plan *plan, bird_value *dst, bird_value *residual,
                             bird_value src, bird_packed *packed, const layer *asked,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv *conv = &asked->conv;
    const int oh = bird_conv_out(conv, conv->ih), ow = bird_conv_out(conv, conv->iw);
    /* In a network, a residual is the output of a convolution or a pool; here it is that of a 1x1
     * pool. */
    const bird_pool same = {.n = conv->n, .c = conv->oc, .ih = oh, .iw = ow, .kernel = 1,
                            .stride = 1, .oh = oh, .ow = ow};
    bird_value sum = BIRD_NO_VALUE, given;
    if (asked->sum) {
        BIRD_TRY(bird_plan_input(plan, residual, conv->n, conv->oc, oh, ow, err));
        BIRD_TRY(bird_in_precision(plan, &given, *residual, precision, err));
        BIRD_TRY(bird_max_pool_inference(plan, &sum, given, &same, err));
    }
    BIRD_TRY(bird_conv_inference(plan, dst, src, sum, conv, asked->relu, packed, 0, err));
cleanup:
    return status;
}

static bird_status in_blocks(bird_plan *plan, bird_value *blocked, bird_value src,
                             const bird_pool *pool, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    const dnnl_dims_t dims = {pool->n, pool->c, pool->ih, pool->iw};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, 4, dims,
                                               bird_plan_type(plan, src), dnnl_nChw16c));
    BIRD_TRY(bird_plan_reordered(plan, blocked, src, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

static bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    layer *asked = context;
    const bird_conv *conv = &asked->conv;
    const bird_pool *pool = &asked->pool;
    bird_plan *plan = NULL;
    bird_packed *packed = NULL;
    bird_value src, input, dst, residual = BIRD_NO_VALUE;

    BIRD_TRY(bird_packed_create(&packed, 1, plain, &asked->of_conv, err));
    BIRD_TRY(bird_plan_create(&plan, 2, err));
    if (asked->kind == CONV) {
        BIRD_TRY(bird_plan_input(plan, &src, conv->n, conv->ic, conv->ih, conv->iw, err));
        BIRD_TRY(bird_in_precision(plan, &input, src, precision, err));
        BIRD_TRY(push_conv(plan, &dst, &residual, input, packed, asked, err));
    } else {
        BIRD_TRY(bird_plan_input(plan, &src, pool->n, pool->c, pool->ih, pool->iw, err));
        BIRD_TRY(bird_in_precision(plan, &input, src, precision, err));
        if (asked->blocked) BIRD_TRY(in_blocks(plan, &input, input, pool, err));
        BIRD_TRY((asked->kind == MAX_POOL ? bird_max_pool_inference : bird_average_pool_inference)(
            plan, &dst, input, pool, err));
    }
    BIRD_TRY(bird_plan_output(plan, &dst, dst, err));
    BIRD_TRY(bird_plan_finish(plan, err));
    BIRD_TRY(bird_plan_bind(plan, src, (void *)asked->src, err));
    if (residual != BIRD_NO_VALUE)
        BIRD_TRY(bird_plan_bind(plan, residual, (void *)asked->residual, err));
    BIRD_TRY(bird_plan_execute(plan, job, err));
    memcpy(asked->dst, bird_plan_data(plan, dst), asked->dst_count * sizeof(float));
cleanup:
    bird_plan_destroy(plan);
    bird_packed_destroy(packed);
    return status;
}

static float conv_at(const layer *l, int n, int oc, int y, int x) {
    const bird_conv *c = &l->conv;
    float sum = l->of_conv.bias[oc];
    for (int ic = 0; ic < c->ic; ic++)
        for (int ky = 0; ky < c->kernel; ky++)
            for (int kx = 0; kx < c->kernel; kx++) {
                const int iy = y * c->stride + ky - c->pad, ix = x * c->stride + kx - c->pad;
                if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw) continue;
                sum += l->src[((n * c->ic + ic) * c->ih + iy) * c->iw + ix] *
                       l->of_conv.weights[((oc * c->ic + ic) * c->kernel + ky) * c->kernel + kx];
            }
    return sum;
}

static void check_conv(bird_conv conv, bool sum, bool relu) {
    const int oh = bird_conv_out(&conv, conv.ih), ow = bird_conv_out(&conv, conv.iw);
    const size_t out = (size_t)(conv.n * conv.oc * oh * ow);
    const size_t count = (size_t)(conv.oc * conv.ic * conv.kernel * conv.kernel);
    float *src = integers((size_t)(conv.n * conv.ic * conv.ih * conv.iw));
    float *residual = integers(out), *filters = integers(count);
    float *bias = integers((size_t)conv.oc), *dst = bird_alloc(out * sizeof *dst);
    int wrong = 0, i = 0;
    const dnnl_data_type_t type = precision == BIRD_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
    layer l = {.kind = CONV, .conv = conv, .sum = sum, .relu = relu, .src = src,
               .residual = residual, .of_conv = {filters, bias, count, conv.oc}, .dst = dst,
               .dst_count = out};

    if (bird_conv_winograd(bird_isa_get(), type, &conv) == 4)
        for (size_t w = 0; w < count; w++) filters[w] = 576 * (float)((int)filters[w] % 2);
    CHECK_OK(bird_executor_run(execute, &l, NULL, err));
    for (int n = 0; n < conv.n; n++)
        for (int oc = 0; oc < conv.oc; oc++)
            for (int y = 0; y < oh; y++)
                for (int x = 0; x < ow; x++, i++) {
                    float expected = conv_at(&l, n, oc, y, x) + (sum ? residual[i] : 0);
                    if (relu && expected < 0) expected = 0;
                    wrong += dst[i] != rounded(expected);
                }
    if (wrong) {
        fprintf(stderr, "%s%s: %d x %d->%d k%d s%d at %dx%d sum %d relu %d: %d of %zu are wrong\n",
                bird_isa_name(), precision_label(), conv.n, conv.ic, conv.oc, conv.kernel,
                conv.stride, conv.ih, conv.iw, sum, relu, wrong, out);
        check_failures++;
    }
    bird_free(dst);
    bird_free(bias);
    bird_free(filters);
    bird_free(residual);
    bird_free(src);
}

static float pool_at(const layer *l, int channel, int y, int x) {
    const bird_pool *p = &l->pool;
    float sum = 0, largest = 0;
    int inside = 0;
    for (int ky = 0; ky < p->kernel; ky++)
        for (int kx = 0; kx < p->kernel; kx++) {
            const int iy = y * p->stride + ky - p->pad, ix = x * p->stride + kx - p->pad;
            if (iy < 0 || ix < 0 || iy >= p->ih || ix >= p->iw) continue;
            const float value = l->src[(channel * p->ih + iy) * p->iw + ix];
            if (inside++ == 0 || value > largest) largest = value;
            sum += value;
        }
    return l->kind == MAX_POOL ? largest : sum / (float)inside;
}

static void check_pool(enum kind kind, bool blocked, int n, int c, int ih, int iw, int kernel,
                       int pad) {
    const bird_pool pool = {.n = n, .c = c, .ih = ih, .iw = iw, .kernel = kernel, .stride = 2,
                            .pad = pad, .oh = (ih + 1) / 2, .ow = (iw + 1) / 2};
    const size_t out = (size_t)(n * c * pool.oh * pool.ow);
    float *src = integers((size_t)(n * c * ih * iw)), *dst = bird_alloc(out * sizeof *dst);
    layer l = {.kind = kind, .blocked = blocked, .pool = pool, .src = src, .dst = dst,
               .dst_count = out};
    int wrong = 0, i = 0;

    CHECK_OK(bird_executor_run(execute, &l, NULL, err));
    for (int channel = 0; channel < n * c; channel++)
        for (int y = 0; y < pool.oh; y++)
            for (int x = 0; x < pool.ow; x++, i++)
                wrong += dst[i] != rounded(pool_at(&l, channel, y, x));
    if (wrong) {
        fprintf(stderr, "%s pool%s of %dx%d: %d of %zu are wrong\n",
                kind == MAX_POOL ? "max" : "average", precision_label(), ih, iw, wrong, out);
        check_failures++;
    }
    bird_free(dst);
    bird_free(src);
}

static void convolutions(void) {
    const bird_conv convs[] = {
        {.n = 3, .ic = 3, .ih = 37, .iw = 33, .oc = 64, .kernel = 7, .stride = 2, .pad = 3},
        {.n = 1, .ic = 3, .ih = 33, .iw = 35, .oc = 32, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 3, .ic = 64, .ih = 9, .iw = 11, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 3, .ic = 64, .ih = 17, .iw = 16, .oc = 96, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 72, .ih = 9, .iw = 10, .oc = 80, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 2, .ic = 64, .ih = 1, .iw = 2, .oc = 16, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 128, .ih = 8, .iw = 6, .oc = 128, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 1, .ic = 32, .ih = 13, .iw = 7, .oc = 48, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 3, .ic = 64, .ih = 7, .iw = 9, .oc = 128, .kernel = 1, .stride = 1, .pad = 0},
        {.n = 1, .ic = 128, .ih = 15, .iw = 9, .oc = 64, .kernel = 1, .stride = 2, .pad = 0},
        {.n = 1, .ic = 512, .ih = 1, .iw = 1, .oc = 16, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 3, .ic = 512, .ih = 3, .iw = 5, .oc = 32, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 40, .ih = 5, .iw = 5, .oc = 24, .kernel = 1, .stride = 1, .pad = 0},
    };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
        for (int variant = 0; variant < 4; variant++)
            check_conv(convs[i], variant & 1, variant & 2);
}

static void pools(void) {
    const int sides[][2] = {{1, 1}, {2, 3}, {7, 7}, {8, 5}, {15, 16}, {17, 2}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int n = 1; n <= 3; n += 2) {
            check_pool(MAX_POOL, false, n, 64, sides[i][0], sides[i][1], 3, 1);
            check_pool(MAX_POOL, true, n, 64, sides[i][0], sides[i][1], 3, 1);
            check_pool(AVERAGE_POOL, false, n, 64, sides[i][0], sides[i][1], 2, 0);
            check_pool(MAX_POOL, false, n, 24, sides[i][0], sides[i][1], 3, 1);
        }
}

/* Sizes around the 16 lanes. A row alone must give the same bits. */
static void linear(void) {
    const size_t ics[] = {1, 2, 15, 16, 17, 31, 64, 100};
    for (size_t i = 0; i < sizeof ics / sizeof *ics; i++) {
        const size_t n = 5, ic = ics[i], oc = 7;
        float *src = integers(n * ic), *filters = integers(oc * ic), *bias = integers(oc);
        float dst[5 * 7], no_bias[5 * 7], row[7];
        bird_linear(dst, src, filters, bias, n, ic, oc);
        bird_linear(no_bias, src, filters, NULL, n, ic, oc);
        for (size_t r = 0; r < n; r++) {
            for (size_t o = 0; o < oc; o++) {
                float sum = 0;
                for (size_t k = 0; k < ic; k++) sum += src[r * ic + k] * filters[o * ic + k];
                CHECK(no_bias[r * oc + o] == sum);
                CHECK(dst[r * oc + o] == sum + bias[o]);
            }
            bird_linear(row, src + r * ic, filters, bias, 1, ic, oc);
            CHECK(memcmp(row, dst + r * oc, sizeof row) == 0);
        }
        bird_free(bias);
        bird_free(filters);
        bird_free(src);
    }
}

static void features(void) {
    const size_t pixels[] = {1, 2, 7, 8, 9, 49, 64};
    float *src = integers(6 * 64), *turned = integers(6 * 64), dst[6];
    for (size_t p = 0; p < sizeof pixels / sizeof *pixels; p++) {
        bird_pool_features(dst, src, pixels[p], 6, BIRD_POOL_AVERAGE);
        bird_channels_first(turned, src, pixels[p], 6);
        for (size_t c = 0; c < 6; c++) {
            const float *own = src + c; /* every sixth number is of this channel */
            float sum = 0;
            for (size_t i = 0; i < pixels[p]; i++) {
                sum += own[6 * i];
                CHECK(turned[c * pixels[p] + i] == own[6 * i]);
            }
            CHECK(dst[c] == sum / (float)pixels[p]);
        }
    }
    for (size_t i = 0; i < 27; i++) src[i] = i % 3 == 0 ? 3.0f : i % 3 == 1 ? -2.0f : 0.0f;
    src[2] = 6.0f; /* one of nine pixels: the mean of the cubes is 24 */
    bird_pool_features(dst, src, 9, 3, BIRD_POOL_GEM);
    CHECK(dst[0] > 2.999999f && dst[0] < 3.000001f);
    CHECK(dst[1] > 0.999999e-6f && dst[1] < 1.000001e-6f); /* negative numbers count as 1e-6 */
    CHECK(dst[2] > 2.884498f && dst[2] < 2.884501f);
    bird_free(turned);
    bird_free(src);
}

static void convolutions_and_pools(void) {
    convolutions();
    pools();
}

int main(void) {
    in_both_precisions(convolutions_and_pools);
    linear();
    features();
    return check_failures;
}
