#include "nn/conv_split.h"

#include "nn/conv_transformed.h"
#include "nn/plan_build.h"
#include "nn/split.h"

/* data: dst, src, weights, bias, scratch. */
static void step(const void *context, void *const *data, int n_threads) {
    bird_split_forward(context, data[0], data[1], data[2], data[3], data[4], n_threads);
}

/* Functions of the type bird_weights_transform. */
static void split_1x1(float *to, const float *plain, int oc, int ic, int n_threads) {
    bird_split_weights(to, plain, oc, ic, 1, n_threads);
}

static void split_3x3(float *to, const float *plain, int oc, int ic, int n_threads) {
    bird_split_weights(to, plain, oc, ic, 3, n_threads);
}

bird_status bird_split_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                      bird_value residual, const bird_conv *conv, bool relu,
                                      bird_packed *packed, int key, bird_error *err) {
    bird_status status = BIRD_OK;
    const bool sum = residual != BIRD_NO_VALUE;
    const bird_split of = bird_split_of(conv, sum, relu, bird_plan_threads(plan));
    const size_t count = (size_t)(of.oc * of.side * of.side) * (size_t)of.ic;
    dnnl_memory_desc_t src_md = NULL, dst_md = NULL;
    bird_value weights, bias, made, scratch;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_conv_transformed(plan, &weights, &bias, conv, count,
                                   of.side == 1 ? split_1x1 : split_3x3, packed, key, err));
    BIRD_TRY(bird_tensor_md(&src_md, of.n, of.ic, of.ih, of.iw, dnnl_nhwc, err));
    BIRD_TRY(bird_tensor_md(&dst_md, of.n, of.oc, of.oh, of.ow, dnnl_nhwc, err));
    BIRD_TRY(bird_plan_reordered(plan, &src, src, src_md, err));
    if (sum)
        BIRD_TRY(bird_plan_reordered(plan, &made, residual, dst_md, err));
    else
        BIRD_TRY(bird_plan_value(plan, &made, dst_md, err));
    BIRD_TRY(bird_plan_scratch(plan, &scratch, bird_split_scratch(&of), err));
    const bird_value values[] = {made, src, weights, bias, scratch};
    BIRD_TRY(bird_plan_push_custom(plan, step, &of, sizeof of, 5, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(dst_md);
    dnnl_memory_desc_destroy(src_md);
    return status;
}
