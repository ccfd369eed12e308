/* Pooling in a training plan, forward and backward. */
#include "operation.h"

#include "nn/pool.h"

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

/* Compute one window of one channel. Of equal maxima the first one wins, as in torch. */
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
    for (int side = 1; side <= 12; side++) { /* the global pool */
        const bool power = (side & (side - 1)) == 0;
        check_pool(false,
                   (bird_pool){.n = 2, .c = 64, .ih = side, .iw = side, .kernel = side,
                               .stride = side, .oh = 1, .ow = 1},
                   power ? 0 : 1e-6f);
    }
}

int main(void) {
    return in_both_precisions(pools);
}
