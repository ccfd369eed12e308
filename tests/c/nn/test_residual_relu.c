/* The end of a residual block, forward and backward. */
#include "operation.h"

#include "nn/batchnorm.h"
#include "nn/residual_relu.h"

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

/* `both`: the gradient arrives on two paths. */
static void check_residual_relu(shape s, bool both) {
    const size_t n = count_of(s), c = (size_t)s.c, area = (size_t)s.h * (size_t)s.w;
    float *a = integers(n), *b = integers(n), *diff = integers(n);
    float *dst = bird_calloc(n, 4), *sum = bird_calloc(n, 4), *dst_ref = bird_calloc(n, 4);
    float *sum_ref = bird_calloc(n, 4);
    /* diff shares its bytes with the sum that follows, so it is only visible there. */
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

static void residual_relus(void) {
    const shape shapes[] = {{2, 64, 7, 7}, {1, 16, 1, 1}, {3, 32, 5, 9}, {1, 256, 2, 2},
                            {2, 2048, 3, 3}, {2, 64, 33, 31}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_residual_relu(shapes[i], false);
        check_residual_relu(shapes[i], true);
    }
}

int main(void) {
    return in_both_precisions(residual_relus);
}
