/* Each operation of a training plan, forward and backward, against plain loops. Small integers,
 * whose sums float32 holds exactly: every kernel must give exactly the same, in bfloat16 that sum
 * rounded once. Only batch norm divides, and is held to a tolerance. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "nn/batchnorm.h"
#include "nn/residual_relu.h"
#include "nn/channel_moments.h"
#include "nn/conv_table.h"
#include "nn/conv_training.h"
#include "nn/plan_build.h"
#include "nn/pool.h"
#include "nn/training_tensor.h"

static unsigned random_state = 1;
static bird_precision precision = BIRD_FLOAT32; /* of what is tested */

/* The nearest number that a tensor of this precision can hold, ties to even. */
static float rounded(float value) {
    uint32_t bits;
    if (precision == BIRD_FLOAT32) return value;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Integers -4 .. 4, or numbers between -4 and 4. */
static float *numbers(size_t n, bool whole) {
    float *values = bird_alloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        values[i] = whole ? (float)((int)(random_state >> 24) % 9 - 4)
                          : rounded((float)(random_state >> 8) / (float)(1 << 21) - 4.0f);
    }
    return values;
}

static float *integers(size_t n) {
    return numbers(n, true);
}

typedef struct shape {
    int n, c, h, w;
} shape;

static size_t count_of(shape s) {
    return (size_t)s.n * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

enum { MAX_TENSORS = 3 };

/* Operations to run as one plan, from inputs to outputs in plain order. */
typedef struct graph {
    bird_status (*push)(const struct graph *asked, bird_plan *plan, const bird_value *in,
                        bird_value *out, bird_error *err);
    const void *op; /* what `push` knows it to be */
    int n_in, n_out;
    shape in_shapes[MAX_TENSORS];
    const float *in[MAX_TENSORS];
    float *out[MAX_TENSORS]; /* in the order of `out` of push */
    size_t out_counts[MAX_TENSORS];
    float *vectors[6]; /* external values of the operation */
} graph;

static bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    graph *asked = context;
    bird_plan *plan = NULL;
    bird_value external[MAX_TENSORS], in[MAX_TENSORS], out[MAX_TENSORS];
    float *copies[MAX_TENSORS] = {0}; /* some operations write where they read */

    BIRD_TRY(bird_plan_create(&plan, 2, err));
    for (int i = 0; i < asked->n_in; i++) {
        const shape s = asked->in_shapes[i];
        copies[i] = bird_alloc(count_of(s) * sizeof(float));
        memcpy(copies[i], asked->in[i], count_of(s) * sizeof(float));
        BIRD_TRY(bird_plan_input(plan, &external[i], s.n, s.c, s.h, s.w, err));
        BIRD_TRY(bird_training_tensor(plan, &in[i], external[i], precision, err));
    }
    BIRD_TRY(asked->push(asked, plan, in, out, err));
    for (int i = 0; i < asked->n_out; i++)
        if (asked->out[i]) BIRD_TRY(bird_plan_output(plan, &out[i], out[i], err));
    BIRD_TRY(bird_plan_finish(plan, err));
    for (int i = 0; i < asked->n_in; i++)
        BIRD_TRY(bird_plan_bind(plan, external[i], copies[i], err));
    BIRD_TRY(bird_plan_execute(plan, job, err));
    for (int i = 0; i < asked->n_out; i++)
        if (asked->out[i])
            memcpy(asked->out[i], bird_plan_data(plan, out[i]),
                   asked->out_counts[i] * sizeof(float));
cleanup:
    for (int i = 0; i < MAX_TENSORS; i++) bird_free(copies[i]);
    bird_plan_destroy(plan);
    return status;
}

static void compare(const char *what, const void *found, const void *expected, size_t count,
                    float tolerance) {
    const float *a = found, *b = expected;
    const float relative = precision == BIRD_BFLOAT16 && tolerance > 0 ? 0x1p-8f : 0;
    size_t wrong = 0, first = 0;
    for (size_t i = count; i-- > 0;)
        if (!(fabsf(a[i] - b[i]) <= tolerance + relative * fabsf(b[i]))) {
            wrong++;
            first = i;
        }
    if (wrong == 0) return;
    fprintf(stderr, "%s%s: %s: %zu of %zu are wrong, first %zu: %g, not %g\n", bird_isa_name(),
            precision == BIRD_BFLOAT16 ? " bfloat16" : "", what, wrong, count, first, (double)a[first], (double)b[first]);
    check_failures++;
}

/* --- convolution --------------------------------------------------------------------- */

static bird_status push_conv(const graph *asked, bird_plan *plan, const bird_value *in,
                             bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv *conv = asked->op;
    bird_value weights, diff_weights;
    BIRD_TRY(bird_plan_weights(plan, &weights, conv->oc, conv->ic, conv->kernel,
                               asked->vectors[0], err));
    BIRD_TRY(bird_plan_weights(plan, &diff_weights, conv->oc, conv->ic, conv->kernel,
                               asked->vectors[1], err));
    BIRD_TRY(bird_conv_forward(plan, &out[0], in[0], weights, conv, err));
    BIRD_TRY(bird_conv_backward_weights(plan, diff_weights, in[1], in[0], conv, err));
    out[1] = BIRD_NO_VALUE;
    if (asked->out[1])
        BIRD_TRY(bird_conv_backward_data(plan, &out[1], in[1], weights, conv, err));
cleanup:
    return status;
}

/* All three directions in one sweep over the products. */
static void conv_reference(const bird_conv *c, int oh, int ow, const float *src, const float *w,
                           const float *diff, float *dst, float *diff_src, float *diff_w) {
    for (int n = 0; n < c->n; n++)
        for (int o = 0; o < c->oc; o++)
            for (int y = 0; y < oh; y++)
                for (int x = 0; x < ow; x++) {
                    const int at = ((n * c->oc + o) * oh + y) * ow + x;
                    for (int i = 0; i < c->ic; i++)
                        for (int k = 0; k < c->kernel * c->kernel; k++) {
                            const int iy = y * c->stride + k / c->kernel - c->pad;
                            const int ix = x * c->stride + k % c->kernel - c->pad;
                            if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw) continue;
                            const int s = ((n * c->ic + i) * c->ih + iy) * c->iw + ix;
                            const int f = (o * c->ic + i) * c->kernel * c->kernel + k;
                            dst[at] += src[s] * w[f];
                            diff_src[s] += diff[at] * w[f];
                            diff_w[f] += diff[at] * src[s];
                        }
                }
}

static void check_conv(bird_conv conv) {
    const int oh = bird_conv_out(&conv, conv.ih), ow = bird_conv_out(&conv, conv.iw);
    const shape in = {conv.n, conv.ic, conv.ih, conv.iw}, out = {conv.n, conv.oc, oh, ow};
    const size_t n_src = count_of(in), n_dst = count_of(out);
    const size_t n_w = (size_t)conv.oc * (size_t)conv.ic * (size_t)(conv.kernel * conv.kernel);
    float *src = integers(n_src), *diff = integers(n_dst), *w = integers(n_w);
    float *dst = bird_calloc(n_dst, 4), *diff_src = bird_calloc(n_src, 4);
    float *diff_w = integers(n_w); /* what was there before must not matter */
    float *dst_ref = bird_calloc(n_dst, 4), *src_ref = bird_calloc(n_src, 4);
    float *w_ref = bird_calloc(n_w, 4);
    char name[96];
    graph g = {.push = push_conv, .op = &conv, .n_in = 2, .n_out = 2, .in_shapes = {in, out},
               .in = {src, diff}, .out = {dst, conv.ic < 8 ? NULL : diff_src},
               .out_counts = {n_dst, n_src}, .vectors = {w, diff_w}};

    conv_reference(&conv, oh, ow, src, w, diff, dst_ref, src_ref, w_ref);
    for (size_t i = 0; i < n_dst; i++) dst_ref[i] = rounded(dst_ref[i]);
    for (size_t i = 0; i < n_src; i++) src_ref[i] = rounded(src_ref[i]);
    snprintf(name, sizeof name, "%d x %d->%d k%d s%d at %dx%d", conv.n, conv.ic, conv.oc,
             conv.kernel, conv.stride, conv.ih, conv.iw);
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    compare(name, dst, dst_ref, n_dst, 0);
    compare(name, diff_w, w_ref, n_w, 0);
    if (g.out[1]) compare(name, diff_src, src_ref, n_src, 0);
    void *all[] = {src, diff, w, dst, diff_src, diff_w, dst_ref, src_ref, w_ref};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bird_free(all[i]);
}

/* Odd sides, single pixels, channels that fill no vector, the first layer's three. */
static void convolutions(void) {
    const bird_conv convs[] = {
        {.n = 3, .ic = 3, .ih = 37, .iw = 33, .oc = 64, .kernel = 7, .stride = 2, .pad = 3},
        {.n = 2, .ic = 3, .ih = 32, .iw = 32, .oc = 32, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 2, .ic = 3, .ih = 9, .iw = 9, .oc = 16, .kernel = 7, .stride = 1, .pad = 3},
        {.n = 3, .ic = 32, .ih = 9, .iw = 11, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 1, .ic = 32, .ih = 13, .iw = 7, .oc = 48, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 2, .ic = 32, .ih = 8, .iw = 8, .oc = 32, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 3, .ic = 64, .ih = 7, .iw = 9, .oc = 128, .kernel = 1, .stride = 1, .pad = 0},
        {.n = 1, .ic = 128, .ih = 15, .iw = 9, .oc = 64, .kernel = 1, .stride = 2, .pad = 0},
        {.n = 2, .ic = 64, .ih = 8, .iw = 8, .oc = 32, .kernel = 1, .stride = 2, .pad = 0},
        {.n = 1, .ic = 128, .ih = 1, .iw = 1, .oc = 16, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 5, .ic = 64, .ih = 2, .iw = 2, .oc = 64, .kernel = 3, .stride = 2, .pad = 1},
        {.n = 1, .ic = 40, .ih = 5, .iw = 5, .oc = 24, .kernel = 1, .stride = 1, .pad = 0},
        {.n = 1, .ic = 24, .ih = 5, .iw = 6, .oc = 40, .kernel = 3, .stride = 1, .pad = 1},
        /* Winograd's on AVX2: more tiles than a chunk has, odd and even sides. */
        {.n = 9, .ic = 64, .ih = 9, .iw = 11, .oc = 80, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 2, .ic = 80, .ih = 30, .iw = 31, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 4, .ic = 64, .ih = 4, .iw = 4, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
    };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) check_conv(convs[i]);
}

/* --- pooling ------------------------------------------------------------------------- */

static bird_status push_max(const graph *asked, bird_plan *plan, const bird_value *in,
                            bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value winners;
    BIRD_TRY(bird_max_pool_forward(plan, &out[0], &winners, in[0], asked->op, err));
    BIRD_TRY(bird_max_pool_backward(plan, &out[1], in[1], winners, asked->op, err));
cleanup:
    return status;
}

static bird_status push_average(const graph *asked, bird_plan *plan, const bird_value *in,
                                bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    BIRD_TRY(bird_average_pool_forward(plan, &out[0], in[0], asked->op, err));
    BIRD_TRY(bird_average_pool_backward(plan, &out[1], in[1], asked->op, err));
cleanup:
    return status;
}

/* One window of one channel. Of equal maxima the first wins, as in torch. */
static void pool_window(const bird_pool *p, bool max, int y, int x, const float *src, float *dst,
                        float diff, float *diff_src) {
    const int top = y * p->stride - p->pad, left = x * p->stride - p->pad;
    int inside = 0, winner = 0;
    float sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < p->kernel * p->kernel; k++) {
            const int iy = top + k / p->kernel, ix = left + k % p->kernel, at = iy * p->iw + ix;
            if (iy < 0 || ix < 0 || iy >= p->ih || ix >= p->iw) continue;
            if (pass == 1 && !max) diff_src[at] += diff / (float)inside;
            if (pass == 1) continue;
            if (inside++ == 0 || src[at] > src[winner]) winner = at;
            sum += src[at];
        }
    if (max) diff_src[winner] += diff;
    *dst = max ? src[winner] : sum / (float)inside;
}

static void check_pool(bool max, bird_pool pool, float tolerance) {
    const shape in = {pool.n, pool.c, pool.ih, pool.iw}, out = {pool.n, pool.c, pool.oh, pool.ow};
    const size_t n_src = count_of(in), n_dst = count_of(out);
    float *src = integers(n_src), *diff = integers(n_dst);
    float *dst = bird_calloc(n_dst, 4), *diff_src = bird_calloc(n_src, 4);
    float *dst_ref = bird_calloc(n_dst, 4), *src_ref = bird_calloc(n_src, 4);
    char name[96];
    graph g = {.push = max ? push_max : push_average, .op = &pool, .n_in = 2, .n_out = 2,
               .in_shapes = {in, out}, .in = {src, diff}, .out = {dst, diff_src},
               .out_counts = {n_dst, n_src}};

    for (int i = 0; i < pool.n * pool.c * pool.oh * pool.ow; i++) {
        const int channel = i / (pool.oh * pool.ow), at = i % (pool.oh * pool.ow);
        const int start = channel * pool.ih * pool.iw;
        pool_window(&pool, max, at / pool.ow, at % pool.ow, src + start, &dst_ref[i], diff[i],
                    src_ref + start);
    }
    snprintf(name, sizeof name, "%s pool k%d s%d, %d x %d at %dx%d", max ? "max" : "average",
             pool.kernel, pool.stride, pool.n, pool.c, pool.ih, pool.iw);
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    compare(name, dst, dst_ref, n_dst, tolerance);
    compare(name, diff_src, src_ref, n_src, tolerance);
    void *all[] = {src, diff, dst, diff_src, dst_ref, src_ref};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bird_free(all[i]);
}

static void pools(void) {
    const int sides[][2] = {{1, 1}, {2, 2}, {2, 3}, {7, 7}, {16, 16}, {8, 5}, {15, 16}, {17, 2}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int n = 1; n <= 3; n += 2) {
            bird_pool pool = {.n = n, .c = 32, .ih = sides[i][0], .iw = sides[i][1], .kernel = 3,
                              .stride = 2, .pad = 1, .oh = (sides[i][0] + 1) / 2,
                              .ow = (sides[i][1] + 1) / 2};
            check_pool(true, pool, 0);
            pool.kernel = 2;
            pool.pad = 0;
            check_pool(false, pool, 0);
        }
    for (int side = 1; side <= 12; side++) { /* the global one */
        const bool power = (side & (side - 1)) == 0;
        check_pool(false,
                   (bird_pool){.n = 2, .c = 64, .ih = side, .iw = side, .kernel = side,
                               .stride = side, .oh = 1, .ow = 1},
                   power ? 0 : 1e-6f);
    }
}

/* --- block ends ---------------------------------------------------------------------- */

enum { SCALE, SHIFT, MEAN, VAR, DIFF_SCALE, DIFF_SHIFT };

static bird_status push_residual_relu(const graph *asked, bird_plan *plan, const bird_value *in,
                                      bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_batchnorm bn = {.fixed = true};
    bird_value *const to[] = {&bn.scale, &bn.shift, &bn.mean, &bn.var};
    for (int i = 0; i < 4; i++)
        BIRD_TRY(bird_plan_vector(plan, to[i], asked->in_shapes[0].c, asked->vectors[i], err));
    BIRD_TRY(bird_residual_relu_forward(plan, &out[0], in[0], in[1], &bn, err));
    BIRD_TRY(bird_residual_relu_backward(plan, &out[1], in[2], asked->op ? in[1] : BIRD_NO_VALUE,
                                         out[0], err));
    BIRD_TRY(bird_add(plan, &out[2], out[1], in[1], err));
cleanup:
    return status;
}

/* `both`: the gradient comes by two roads. */
static void check_residual_relu(shape s, bool both) {
    const size_t n = count_of(s), c = (size_t)s.c, area = (size_t)s.h * (size_t)s.w;
    float *a = integers(n), *b = integers(n), *diff = integers(n);
    float *dst = bird_calloc(n, 4), *sum = bird_calloc(n, 4), *dst_ref = bird_calloc(n, 4);
    float *sum_ref = bird_calloc(n, 4);
    /* diff shares its bytes with the sum behind it, so it is seen there only. */
    graph g = {.push = push_residual_relu, .op = both ? &g : NULL, .n_in = 3, .n_out = 3,
               .in_shapes = {s, s, s}, .in = {a, b, diff}, .out = {dst, NULL, sum},
               .out_counts = {n, n, n}};
    for (int i = 0; i < 4; i++) g.vectors[i] = integers(c);
    for (size_t i = 0; i < c; i++) g.vectors[VAR][i] = 1;
    for (size_t i = 0; i < n; i++) {
        const size_t at = i / area % c;
        const float end = (a[i] - g.vectors[MEAN][at]) * g.vectors[SCALE][at] +
                          g.vectors[SHIFT][at] + b[i];
        dst_ref[i] = end > 0 ? end : 0;
        sum_ref[i] = (end > 0 ? diff[i] + (both ? b[i] : 0) : 0) + b[i];
    }
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    compare("end of a block", dst, dst_ref, n, 0);
    compare("end of a block, backward", sum, sum_ref, n, 0);
    void *all[] = {a, b, diff, dst, sum, dst_ref, sum_ref};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bird_free(all[i]);
    for (int i = 0; i < 4; i++) bird_free(g.vectors[i]);
}

static void residual_relu(void) {
    const shape shapes[] = {{2, 64, 7, 7}, {1, 16, 1, 1}, {3, 32, 5, 9}, {1, 256, 2, 2},
                            {2, 2048, 3, 3}, {2, 64, 33, 31}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_residual_relu(shapes[i], false);
        check_residual_relu(shapes[i], true);
    }
}

/* --- batch norm ---------------------------------------------------------------------- */

static bird_status push_batchnorm(const graph *asked, bird_plan *plan, const bird_value *in,
                                  bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_batchnorm bn = *(const bird_batchnorm *)asked->op;
    const int c = asked->in_shapes[0].c;
    bird_value v[6], mask;
    for (int i = 0; i < 6; i++)
        BIRD_TRY(bird_plan_vector(plan, &v[i], c, asked->vectors[i], err));
    bn.scale = v[SCALE];
    bn.shift = v[SHIFT];
    bn.mean = v[MEAN];
    bn.var = v[VAR];
    BIRD_TRY(bird_batchnorm_forward(plan, &out[0], &mask, in[0], &bn, err));
    BIRD_TRY(bird_batchnorm_again(plan, &out[2], in[0], &bn, err));
    BIRD_TRY(bird_batchnorm_backward(plan, &out[1], v[DIFF_SCALE], v[DIFF_SHIFT], in[1], in[0],
                                     mask, &bn, err));
cleanup:
    return status;
}

/* One channel in double. `dst`, `diff_src`: its first pixel; so are the others. */
static void batchnorm_channel(const bird_batchnorm *bn, shape s, int c, const graph *g,
                              float *dst, float *diff_src, double moments[4]) {
    const size_t area = (size_t)s.h * (size_t)s.w, step = (size_t)s.c * area;
    const double count = (double)s.n * (double)area;
    const double scale = (double)g->vectors[SCALE][c], shift = (double)g->vectors[SHIFT][c];
    double mean = 0, var = 0, sum = 0, along = 0;
    for (int pass = 0; pass < 4; pass++) {
        for (int n = 0; n < s.n; n++)
            for (size_t i = 0; i < area; i++) {
                const size_t at = (size_t)n * step + (size_t)c * area + i;
                const double x = (double)g->in[0][at], hat = (x - mean) / sqrt(var + 1e-5);
                const double y = scale * hat + shift;
                const double diff = bn->relu && y <= 0 ? 0 : (double)g->in[1][at];
                if (pass == 0) mean += x / count;
                if (pass == 1) var += (x - mean) * (x - mean) / count;
                if (pass == 2) {
                    sum += diff;
                    along += diff * hat;
                }
                if (pass < 3) continue;
                dst[at] = (float)(bn->relu && y < 0 ? 0 : y);
                diff_src[at] = (float)(scale / sqrt(var + 1e-5) *
                                       (bn->fixed ? diff : diff - (sum + hat * along) / count));
            }
        if (bn->fixed && pass < 2) {
            mean = (double)g->vectors[MEAN][c];
            var = (double)g->vectors[VAR][c];
        }
    }
    moments[0] = mean;
    moments[1] = var;
    moments[2] = along;
    moments[3] = sum;
}

static void check_batchnorm(shape s, bool fixed, bool relu) {
    const size_t n = count_of(s), c = (size_t)s.c;
    const bird_batchnorm bn = {.relu = relu, .fixed = fixed, .eps = 1e-5f};
    float *src = numbers(n, false), *diff = numbers(n, false);
    float *dst = bird_calloc(n, 4), *diff_src = bird_calloc(n, 4), *again = bird_calloc(n, 4);
    float *dst_ref = bird_calloc(n, 4), *src_ref = bird_calloc(n, 4);
    char name[96];
    graph g = {.push = push_batchnorm, .op = &bn, .n_in = 2, .n_out = 3, .in_shapes = {s, s},
               .in = {src, diff}, .out = {dst, diff_src, again}, .out_counts = {n, n, n}};
    snprintf(name, sizeof name, "batch norm %d x %d at %dx%d%s%s", s.n, s.c, s.h, s.w,
             fixed ? " fixed" : "", relu ? " relu" : "");
    for (int i = 0; i < 6; i++) g.vectors[i] = numbers(c, false);
    for (size_t i = 0; i < c; i++) g.vectors[VAR][i] = fabsf(g.vectors[VAR][i]) + 0.5f;
    float *given_mean = numbers(c, false), *given_var = numbers(c, false);
    memcpy(given_mean, g.vectors[MEAN], c * sizeof(float));
    memcpy(given_var, g.vectors[VAR], c * sizeof(float));
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    if (fixed) { /* given, not to be written */
        compare(name, g.vectors[MEAN], given_mean, c, 0);
        compare(name, g.vectors[VAR], given_var, c, 0);
    }
    for (size_t i = 0; i < c; i++) {
        double moments[4];
        const float limit = 1e-5f * (float)(s.n * s.h * s.w);
        batchnorm_channel(&bn, s, (int)i, &g, dst_ref, src_ref, moments);
        CHECK(fabs((double)g.vectors[MEAN][i] - moments[0]) <= 1e-5);
        CHECK(fabs((double)g.vectors[VAR][i] - moments[1]) <= 1e-5);
        CHECK(fabs((double)g.vectors[DIFF_SCALE][i] - moments[2]) <= (double)limit + 1e-5);
        CHECK(fabs((double)g.vectors[DIFF_SHIFT][i] - moments[3]) <= (double)limit + 1e-5);
    }
    compare(name, dst, dst_ref, n, 3e-5f);
    compare(name, again, dst_ref, n, 3e-5f);
    compare(name, diff_src, src_ref, n, 1e-4f);
    void *all[] = {src, diff, dst, diff_src, again, dst_ref, src_ref, given_mean, given_var};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bird_free(all[i]);
    for (int i = 0; i < 6; i++) bird_free(g.vectors[i]);
}

static void batchnorms(void) {
    const shape shapes[] = {{3, 32, 5, 7}, {4, 64, 8, 8}, {5, 16, 1, 1}, {8, 2048, 1, 1},
                            {1, 64, 2, 2}, {2, 16, 31, 17}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int variant = 0; variant < 4; variant++)
            check_batchnorm(shapes[i], variant & 1, variant & 2);
    check_batchnorm((shape){1, 64, 1, 1}, true, true); /* one pixel: only fixed means anything */
    check_batchnorm((shape){1, 64, 1, 1}, true, false);
}

static bird_status push_moments(const graph *asked, bird_plan *plan, const bird_value *in,
                                bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value mean, var;
    (void)out;
    BIRD_TRY(bird_plan_vector(plan, &mean, asked->in_shapes[0].c, asked->vectors[MEAN], err));
    BIRD_TRY(bird_plan_vector(plan, &var, asked->in_shapes[0].c, asked->vectors[VAR], err));
    BIRD_TRY(bird_channel_moments(plan, mean, var, in[0], err));
cleanup:
    return status;
}

/* Many pixels far from zero: a plain sum in float32 is off by a thousandth. The first of them
 * is far from the others. */
static void exact_moments(void) {
    const shape s = {8, 32, 64, 61};
    const size_t n = count_of(s), area = 64 * 61;
    float *src = numbers(n, false), mean[32], var[32];
    graph g = {.push = push_moments, .n_in = 1, .in_shapes = {s}, .in = {src},
               .vectors = {[MEAN] = mean, [VAR] = var}};
    for (size_t i = 0; i < n; i++) src[i] = rounded(src[i] + (i % area == 0 ? -200.0f : 100.0f));
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    for (size_t c = 0; c < 32; c++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++)
            if (i / area % 32 == c) sum += (double)src[i];
        sum /= 8.0 * (double)area;
        for (size_t i = 0; i < n; i++)
            if (i / area % 32 == c) square += ((double)src[i] - sum) * ((double)src[i] - sum);
        square /= 8.0 * (double)area;
        CHECK(fabs((double)mean[c] - sum) <= 4e-6); /* half a step of float32 at 100 */
        /* coarse numbers round alike, and their roundings add up */
        CHECK(fabs((double)var[c] - square) <= (precision == BIRD_BFLOAT16 ? 4e-6 : 1e-6) * square);
    }
    bird_free(src);
}

int main(void) {
    for (;;) {
        convolutions();
        pools();
        residual_relu();
        batchnorms();
        exact_moments();
        if (precision == BIRD_BFLOAT16 || !bird_isa_has_bf16()) break;
        precision = BIRD_BFLOAT16;
    }
    return check_failures;
}
