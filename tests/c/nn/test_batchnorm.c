/* Batch norm: forward, backward, and forward again. */
#include "operation.h"

#include "nn/batchnorm.h"

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

/* Compute one channel in double. `dst`, `diff_src` and the other tensors point to its first
 * pixel. */
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
    if (fixed) { /* given, must not change */
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
    check_batchnorm((shape){1, 64, 1, 1}, true, true); /* one pixel: only fixed statistics make
                                                        * sense */
    check_batchnorm((shape){1, 64, 1, 1}, true, false);
}

int main(void) {
    return in_both_precisions(batchnorms);
}
