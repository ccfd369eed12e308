/* Convolutions of a training plan: the forward pass and both backward passes. */
#include "operation.h"

#include "nn/conv_table.h"
#include "nn/conv_training.h"

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

/* Compute all three directions in one pass over the products. */
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
    float *diff_w = integers(n_w); /* the old content must not matter */
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

/* Odd sides, single pixels, channels that do not fill a vector, and the three of the first
 * layer. */
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
        /* For Winograd on AVX2: more tiles than one chunk, odd and even sides. */
        {.n = 9, .ic = 64, .ih = 9, .iw = 11, .oc = 80, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 2, .ic = 80, .ih = 30, .iw = 31, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 4, .ic = 64, .ih = 4, .iw = 4, .oc = 64, .kernel = 3, .stride = 1, .pad = 1},
        /* For the matrix product with AMX. */
        {.n = 3, .ic = 256, .ih = 5, .iw = 3, .oc = 48, .kernel = 3, .stride = 1, .pad = 1},
        {.n = 2, .ic = 256, .ih = 7, .iw = 6, .oc = 32, .kernel = 3, .stride = 2, .pad = 1},
    };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) check_conv(convs[i]);
}

int main(void) {
    return in_both_precisions(convolutions);
}
