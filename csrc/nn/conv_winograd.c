#include "nn/conv_winograd.h"

#include "nn/conv_table.h"
#include "nn/conv_transformed.h"
#include "nn/plan_build.h"
#include "nn/winograd.h"
#include "nn/winograd4.h"

/* data: dst, src, u, v, m, bias. */
static void inference_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_forward(context, data[0], data[1], data[2], data[5], data[3], data[4],
                          n_threads);
}

/* data: dst, src, u, bias, scratch. */
static void inference4_step(const void *context, void *const *data, int n_threads) {
    bird_winograd4_forward(context, data[0], data[1], data[2], data[3], data[4], n_threads);
}

/* data: diff_src, diff_dst, u, v, m. */
static void backward_data_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_forward(context, data[0], data[1], data[2], NULL, data[3], data[4], n_threads);
}

/* data: u, plain weights. */
static void weights_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_weights(context, data[0], data[1], true, n_threads);
}

/* data: diff_weights, src, diff_dst, v, m, u. */
static void backward_weights_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_backward_weights(context, data[0], data[1], data[2], data[3], data[4], data[5],
                                   n_threads);
}

/* Return `value` (n, c, h, w) in the layout that F(2x2) reads. */
static bird_status blocked(bird_plan *plan, bird_value *out, bird_value value,
                           const bird_winograd *of, int channels, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    BIRD_TRY(bird_tensor_md(&md, of->n, channels, of->h, of->w, dnnl_nChw8c, err));
    BIRD_TRY(bird_plan_reordered(plan, out, value, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* Append the convolution itself. `bias` is BIRD_NO_VALUE in a backward pass. */
static bird_status push(bird_plan *plan, bird_value *dst, bird_value src, bird_value u,
                        bird_value bias, const bird_winograd *of, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    bird_value v, m, made;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(blocked(plan, &src, src, of, of->ic, err));
    BIRD_TRY(bird_tensor_md(&md, of->n, of->oc, of->h, of->w, dnnl_nChw8c, err));
    BIRD_TRY(bird_plan_value(plan, &made, md, err));
    BIRD_TRY(bird_plan_scratch(plan, &v, bird_winograd_scratch(of, of->ic), err));
    BIRD_TRY(bird_plan_scratch(plan, &m, bird_winograd_scratch(of, of->oc), err));
    const bird_value values[] = {made, src, u, v, m, bias};
    if (bias == BIRD_NO_VALUE)
        BIRD_TRY(bird_plan_push_custom(plan, backward_data_step, of, sizeof *of, 5, values, err));
    else
        BIRD_TRY(bird_plan_push_custom(plan, inference_step, of, sizeof *of, 6, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* --- inference: weights transformed once ------------------------------------------------ */

/* Functions of the type bird_weights_transform. */
static void transform(float *to, const float *plain, int oc, int ic, int n_threads) {
    const bird_winograd of = {.oc = oc, .ic = ic};
    bird_winograd_weights(&of, to, plain, false, n_threads);
}

static void transform4(float *to, const float *plain, int oc, int ic, int n_threads) {
    bird_winograd4_weights(bird_winograd4_best(false), to, plain, oc, ic, n_threads);
}

static void transform4_bf16(float *to, const float *plain, int oc, int ic, int n_threads) {
    bird_winograd4_weights(bird_winograd4_best(true), to, plain, oc, ic, n_threads);
}

bird_status bird_winograd_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                         const bird_conv *conv, bool relu, bird_packed *packed,
                                         int key, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_winograd of = bird_winograd_of(conv, relu);
    bird_value u, bias;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_conv_transformed(plan, &u, &bias, conv, bird_winograd_weights_size(&of),
                                   transform, packed, key, err));
    BIRD_TRY(push(plan, dst, src, u, bias, &of, err));
cleanup:
    return status;
}

bird_status bird_winograd4_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                          const bird_conv *conv, bool relu, bird_packed *packed,
                                          int key, bird_error *err) {
    bird_status status = BIRD_OK;
    const int n_threads = bird_plan_threads(plan);
    const dnnl_data_type_t type = bird_plan_type(plan, src);
    const bool bf16 = type == dnnl_bf16;
    const bool last = bird_conv_layout(bird_isa_get(), type, conv) == dnnl_nhwc;
    const dnnl_format_tag_t tag = last ? dnnl_nhwc : dnnl_nChw8c;
    const bird_winograd4 of =
        bird_winograd4_of(bird_winograd4_best(bf16), conv, last ? 0 : 8, relu, n_threads);
    const dnnl_dims_t in = {conv->n, conv->ic, conv->ih, conv->iw};
    const dnnl_dims_t out = {conv->n, conv->oc, conv->ih, conv->iw};
    dnnl_memory_desc_t in_md = NULL, out_md = NULL;
    bird_value u, bias, made, scratch;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_conv_transformed(plan, &u, &bias, conv,
                                   bird_winograd4_weights_size(conv->oc, conv->ic),
                                   bf16 ? transform4_bf16 : transform4, packed, key, err));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&in_md, 4, in, type, tag));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&out_md, 4, out, type, tag));
    BIRD_TRY(bird_plan_reordered(plan, &src, src, in_md, err));
    BIRD_TRY(bird_plan_value(plan, &made, out_md, err));
    BIRD_TRY(bird_plan_scratch(plan, &scratch, bird_winograd4_scratch(&of, n_threads), err));
    const bird_value values[] = {made, src, u, bias, scratch};
    BIRD_TRY(bird_plan_push_custom(plan, inference4_step, &of, sizeof of, 5, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(out_md);
    dnnl_memory_desc_destroy(in_md);
    return status;
}

/* --- backward: weights transformed in every step ---------------------------------------- */

/* The backward pass is a convolution from oc to ic channels with every filter rotated. */
bird_status bird_winograd_conv_backward_data(bird_plan *plan, bird_value *diff_src,
                                             bird_value diff_dst, bird_value weights,
                                             const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_conv back = *conv;
    back.ic = conv->oc;
    back.oc = conv->ic;
    const bird_winograd of = bird_winograd_of(&back, false);
    bird_value u;

    *diff_src = BIRD_NO_VALUE;
    BIRD_TRY(bird_plan_scratch(plan, &u, bird_winograd_weights_size(&of), err));
    const bird_value values[] = {u, weights};
    BIRD_TRY(bird_plan_push_custom(plan, weights_step, &of, sizeof of, 2, values, err));
    BIRD_TRY(push(plan, diff_src, diff_dst, u, BIRD_NO_VALUE, &of, err));
cleanup:
    return status;
}

bird_status bird_winograd_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                                bird_value diff_dst, bird_value src,
                                                const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_winograd of = bird_winograd_of(conv, false);
    bird_value v, m, u;

    BIRD_TRY(blocked(plan, &src, src, &of, of.ic, err));
    BIRD_TRY(blocked(plan, &diff_dst, diff_dst, &of, of.oc, err));
    BIRD_TRY(bird_plan_scratch(plan, &v, bird_winograd_scratch(&of, of.ic), err));
    BIRD_TRY(bird_plan_scratch(plan, &m, bird_winograd_scratch(&of, of.oc), err));
    BIRD_TRY(bird_plan_scratch(plan, &u, bird_winograd_weights_size(&of), err));
    const bird_value values[] = {diff_weights, src, diff_dst, v, m, u};
    BIRD_TRY(bird_plan_push_custom(plan, backward_weights_step, &of, sizeof of, 6, values, err));
cleanup:
    return status;
}
