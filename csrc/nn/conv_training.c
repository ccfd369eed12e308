#include "nn/conv_training.h"

#include "nn/conv_table.h"
#include "nn/conv_weights_product.h"
#include "nn/conv_winograd.h"
#include "nn/plan_build.h"

typedef enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } direction;

/* Descriptors that all three passes share, in the layouts of training. */
typedef struct conv_mds {
    dnnl_memory_desc_t src, weights, dst; /* owned */
    dnnl_memory_desc_t diff_weights;      /* owned; always float32 */
    dnnl_dims_t strides, dilation, pad;
} conv_mds;

static void destroy_mds(conv_mds *mds) {
    dnnl_memory_desc_destroy(mds->src);
    dnnl_memory_desc_destroy(mds->weights);
    dnnl_memory_desc_destroy(mds->dst);
    dnnl_memory_desc_destroy(mds->diff_weights);
}

static bird_status create_mds(conv_mds *mds, const bird_conv *conv, dnnl_data_type_t type,
                              bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_isa isa = bird_isa_get();
    const dnnl_dims_t src = {conv->n, conv->ic, conv->ih, conv->iw};
    const dnnl_dims_t weights = {conv->oc, conv->ic, conv->kernel, conv->kernel};
    const dnnl_dims_t dst = {conv->n, conv->oc, bird_conv_out(conv, conv->ih),
                             bird_conv_out(conv, conv->iw)};

    *mds = (conv_mds){
        .strides = {conv->stride, conv->stride},
        .pad = {conv->pad, conv->pad},
    };
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&mds->src, 4, src, type,
                                               bird_training_layout(isa, type, conv->ic)));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&mds->weights, 4, weights, type,
                                               dnnl_format_tag_any));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&mds->diff_weights, 4, weights, dnnl_f32,
                                               dnnl_format_tag_any));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&mds->dst, 4, dst, type,
                                               bird_training_layout(isa, type, conv->oc)));
cleanup:
    return status;
}

/* Create the descriptor of the convolution in one direction, with numbers of that type. The caller
 * frees *pd. */
static bird_status describe(dnnl_primitive_desc_t *pd, direction way, const bird_conv *conv,
                            dnnl_data_type_t type, bird_error *err) {
    bird_status status = BIRD_OK;
    conv_mds mds = {0};
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL; /* the backward descriptors need the forward one */

    *pd = NULL;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(create_mds(&mds, conv, type, err));
    BIRD_DNNL(dnnl_convolution_forward_primitive_desc_create(
        &hint, engine->engine, dnnl_forward_training, dnnl_convolution_direct, mds.src,
        mds.weights, NULL, mds.dst, mds.strides, mds.dilation, mds.pad, mds.pad, attr));
    if (way == FORWARD) {
        *pd = hint;
        hint = NULL;
    } else if (way == BACKWARD_DATA) {
        BIRD_DNNL(dnnl_convolution_backward_data_primitive_desc_create(
            pd, engine->engine, dnnl_convolution_direct, mds.src, mds.weights, mds.dst,
            mds.strides, mds.dilation, mds.pad, mds.pad, hint, attr));
    } else {
        BIRD_DNNL(dnnl_convolution_backward_weights_primitive_desc_create(
            pd, engine->engine, dnnl_convolution_direct, mds.src, mds.diff_weights, NULL, mds.dst,
            mds.strides, mds.dilation, mds.pad, mds.pad, hint, attr));
    }
cleanup:
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_attr_destroy(attr);
    destroy_mds(&mds);
    return status;
}

/* Return true if our own kernels compute the backward pass; `value` is one of its activations or
 * gradients. The forward pass always uses oneDNN, even if it is slower, because its rounding
 * decides which of the following ReLUs are open. */
static bool is_winograd(const bird_plan *plan, bird_value value, const bird_conv *conv) {
    return bird_plan_type(plan, value) == dnnl_f32 &&
           bird_training_is_winograd(bird_isa_get(), conv);
}

/* Convert a value to the layout that the kernel needs for its argument `what`. */
static bird_status fit(bird_plan *plan, bird_value *value, dnnl_primitive_desc_t pd,
                       dnnl_query_t what, bird_error *err) {
    return bird_plan_reordered(plan, value, *value, dnnl_primitive_desc_query_md(pd, what, 0), err);
}

bird_status bird_conv_forward(bird_plan *plan, bird_value *dst, bird_value src,
                              bird_value weights, const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_desc_t pd = NULL;
    bird_value dst_value;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(describe(&pd, FORWARD, conv, bird_plan_type(plan, src), err));
    BIRD_TRY(fit(plan, &src, pd, dnnl_query_src_md, err));
    BIRD_TRY(fit(plan, &weights, pd, dnnl_query_weights_md, err));
    BIRD_TRY(bird_plan_value(plan, &dst_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), err));
    const bird_arg args[] = {
        {DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, dst_value}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *dst = dst_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    return status;
}

bird_status bird_conv_backward_data(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                                    bird_value weights, const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_desc_t pd = NULL;
    bird_value diff_src_value;

    if (is_winograd(plan, diff_dst, conv))
        return bird_winograd_conv_backward_data(plan, diff_src, diff_dst, weights, conv, err);
    *diff_src = BIRD_NO_VALUE;
    BIRD_TRY(describe(&pd, BACKWARD_DATA, conv, bird_plan_type(plan, diff_dst), err));
    BIRD_TRY(fit(plan, &diff_dst, pd, dnnl_query_diff_dst_md, err));
    BIRD_TRY(fit(plan, &weights, pd, dnnl_query_weights_md, err));
    BIRD_TRY(bird_plan_value(plan, &diff_src_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_diff_src_md, 0), err));
    const bird_arg args[] = {{DNNL_ARG_DIFF_DST, diff_dst},
                             {DNNL_ARG_WEIGHTS, weights},
                             {DNNL_ARG_DIFF_SRC, diff_src_value}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *diff_src = diff_src_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    return status;
}

bird_status bird_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                       bird_value diff_dst, bird_value src,
                                       const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_desc_t pd = NULL;
    bird_value packed;

    if (is_winograd(plan, src, conv))
        return bird_winograd_conv_backward_weights(plan, diff_weights, diff_dst, src, conv, err);
    if (bird_training_is_product(bird_plan_type(plan, src), conv))
        return bird_conv_weights_product(plan, diff_weights, diff_dst, src, conv, err);
    BIRD_TRY(describe(&pd, BACKWARD_WEIGHTS, conv, bird_plan_type(plan, src), err));
    BIRD_TRY(fit(plan, &src, pd, dnnl_query_src_md, err));
    BIRD_TRY(fit(plan, &diff_dst, pd, dnnl_query_diff_dst_md, err));
    const_dnnl_memory_desc_t packed_md =
        dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0);
    packed = diff_weights;
    if (!dnnl_memory_desc_equal(packed_md, bird_plan_md(plan, diff_weights)))
        BIRD_TRY(bird_plan_value(plan, &packed, packed_md, err));
    const bird_arg args[] = {{DNNL_ARG_SRC, src},
                             {DNNL_ARG_DIFF_DST, diff_dst},
                             {DNNL_ARG_DIFF_WEIGHTS, packed}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    if (packed != diff_weights) BIRD_TRY(bird_plan_copy(plan, diff_weights, packed, err));
cleanup:
    dnnl_primitive_desc_destroy(pd);
    return status;
}
