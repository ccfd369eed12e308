/* Each inference convolution of the networks, with its residual if it has one, must give
 * bit-identical rows in batches of 1 and 8 and on any number of threads, with the kernel that the
 * table chooses on this machine, in float32 and, if the machine supports it, in bfloat16.
 * ONEDNN_MAX_CPU_ISA=AVX2 tests the other column of the table. BIRDEMBED_EVERY_CASE=1 tries more
 * numbers of threads and more sizes. */
#include "model/resnet.h"
#include "nn/conv.h"
#include "numbers.h"

enum { BATCH = 8 };

static const int every_count[] = {1, 2, 3, 4, 8, 12, 16, 24, 32, 64};
static const int some_counts[] = {1, 2, 3, 16};

static float *weights_of_test; /* (oc, ic, k, k) */

static void plain(const void *owner, int key, int first, int n, float *weights, float *bias) {
    const bird_conv *conv = owner;
    const size_t each = (size_t)conv->ic * (size_t)(conv->kernel * conv->kernel);
    (void)key;
    if (weights)
        memcpy(weights, weights_of_test + (size_t)first * each,
               (size_t)n * each * sizeof *weights);
    if (bias)
        for (int i = 0; i < n; i++) bias[i] = 0.01f * (float)((first + i) % 7);
}

static void fill(float *values, size_t n, unsigned seed) {
    unsigned state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
}

typedef struct run {
    bird_conv conv;
    int n_threads;
    const float *src;   /* (n, ic, ih, iw) */
    const float *residual; /* (n, oc, oh, ow); NULL: none */
    float *dst;         /* (n, oc, oh, ow) */
    size_t dst_count;
} run;

static bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    run *asked = context;
    const bird_conv *conv = &asked->conv;
    bird_plan *plan = NULL;
    bird_packed *packed = NULL;
    bird_value input, src, dst, given, residual = BIRD_NO_VALUE;

    BIRD_TRY(bird_packed_create(&packed, 1, plain, conv, err));
    BIRD_TRY(bird_plan_create(&plan, asked->n_threads, err));
    BIRD_TRY(bird_plan_input(plan, &input, conv->n, conv->ic, conv->ih, conv->iw, err));
    BIRD_TRY(bird_in_precision(plan, &src, input, precision, err));
    if (asked->residual) {
        BIRD_TRY(bird_plan_input(plan, &given, conv->n, conv->oc, bird_conv_out(conv, conv->ih),
                                 bird_conv_out(conv, conv->iw), err));
        BIRD_TRY(bird_in_precision(plan, &residual, given, precision, err));
    }
    BIRD_TRY(bird_conv_inference(plan, &dst, src, residual, conv, true, packed, 0, err));
    BIRD_TRY(bird_plan_output(plan, &dst, dst, err));
    BIRD_TRY(bird_plan_finish(plan, err));
    BIRD_TRY(bird_plan_bind(plan, input, (void *)asked->src, err));
    if (asked->residual) BIRD_TRY(bird_plan_bind(plan, given, (void *)asked->residual, err));
    BIRD_TRY(bird_plan_execute(plan, job, err));
    memcpy(asked->dst, bird_plan_data(plan, dst), asked->dst_count * sizeof(float));
cleanup:
    bird_plan_destroy(plan);
    bird_packed_destroy(packed);
    return status;
}

static void check_shape(bird_conv conv, bool summed) {
    const int oh = bird_conv_out(&conv, conv.ih);
    const size_t in = (size_t)conv.ic * (size_t)(conv.ih * conv.iw);
    const size_t out = (size_t)conv.oc * (size_t)(oh * oh);
    const size_t count = (size_t)conv.oc * (size_t)conv.ic * (size_t)(conv.kernel * conv.kernel);
    float *src = bird_alloc(BATCH * in * sizeof *src);
    float *residual = summed ? bird_alloc(BATCH * out * sizeof *residual) : NULL;
    float *expected = bird_alloc(BATCH * out * sizeof *expected);
    float *found = bird_alloc(BATCH * out * sizeof *found);

    weights_of_test = bird_alloc(count * sizeof *weights_of_test);
    fill(src, BATCH * in, 1);
    fill(weights_of_test, count, 2);
    if (summed) fill(residual, BATCH * out, 3);
    conv.n = BATCH;
    run whole = {conv, 1, src, residual, expected, BATCH * out};
    CHECK_OK(bird_executor_run(execute, &whole, NULL, err));
    const bool every = check_every_case();
    const int *thread_counts = every ? every_count : some_counts;
    const size_t n_counts = every ? sizeof every_count / sizeof *every_count
                                  : sizeof some_counts / sizeof *some_counts;
    for (size_t t = 0; t < n_counts; t++) {
        for (int n = 1; n <= BATCH; n += BATCH - 1) {
            /* A single picture from the middle, because the position must not matter either. */
            const size_t at = n == 1 ? 5 : 0;
            run part = {conv, thread_counts[t], src + at * in,
                        summed ? residual + at * out : NULL, found, (size_t)n * out};
            part.conv.n = n;
            CHECK_OK(bird_executor_run(execute, &part, NULL, err));
            if (memcmp(found, expected + at * out, part.dst_count * sizeof *found) != 0) {
                fprintf(stderr, "%s%s: %d->%d k%d s%d%s at %d px: batch %d on %d threads differs\n",
                        bird_isa_name(), precision_label(), conv.ic, conv.oc, conv.kernel,
                        conv.stride, summed ? " sum" : "", conv.ih, n, thread_counts[t]);
                check_failures++;
            }
        }
    }
    bird_free(weights_of_test);
    bird_free(found);
    bird_free(expected);
    bird_free(residual);
    bird_free(src);
}

/* Checked already: the same geometry with the same size. */
static struct {
    bird_conv conv;
    bool summed;
} seen[256];
static int n_seen;

static int visit(const bird_resnet *net, int index, int side, bool summed) {
    const bird_conv_bn *unit = &net->convs[index];
    const bird_conv conv = {.ic = unit->ic, .ih = side, .iw = side, .oc = unit->oc,
                            .kernel = unit->kernel, .stride = unit->stride, .pad = unit->pad};
    int known = 0;
    for (int i = 0; i < n_seen; i++)
        if (seen[i].summed == summed && memcmp(&seen[i].conv, &conv, sizeof conv) == 0) known = 1;
    if (!known) {
        seen[n_seen].conv = conv;
        seen[n_seen++].summed = summed;
        check_shape(conv, summed);
    }
    return bird_conv_out(&conv, side);
}

static void check_network(const char *name, int side) {
    bird_resnet *net = NULL;
    CHECK_OK(bird_resnet_create(&net, bird_resnet_find(name), 0, err));
    if (!net) return;
    for (int i = 0; i < net->n_stem; i++) side = visit(net, net->stem[i], side, false);
    side = (side + 1) / 2;
    for (int i = 0; i < net->n_blocks; i++) {
        const bird_block *block = &net->blocks[i];
        int inner = side;
        if (block->shortcut >= 0)
            visit(net, block->shortcut, block->shortcut_pool ? (side + 1) / 2 : side, false);
        for (int c = 0; c < block->n_convs; c++)
            inner = visit(net, block->convs[c], inner, c == block->n_convs - 1);
        side = inner;
    }
    bird_resnet_destroy(net);
}

static void check_networks(void) {
    n_seen = 0;
    check_network("resnet50", 224);
    check_network("resnet34", 96);
    if (!check_every_case()) return;
    check_network("resnet50", 96);
    check_network("resnet50", 288);
    check_network("resnet50d", 224);
    check_network("resnet34", 224);
    check_network("resnet34", 288);
    check_network("resnet34d", 224);
}

int main(void) {
    return in_both_precisions(check_networks);
}
