#include "nn/conv.h"

#include <string.h>

#include "nn/conv_table.h"
#include "nn/conv_winograd.h"
#include "nn/packed_build.h"
#include "nn/plan_build.h"

int bird_conv_out(const bird_conv *conv, int in) {
    return (in + 2 * conv->pad - conv->kernel) / conv->stride + 1;
}

/* Residual first, then ReLU, as the bottleneck block has it. */
static bird_status inference_attr(dnnl_primitive_attr_t *attr, bool sum, bool relu,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_post_ops_t post_ops = NULL;
    dnnl_primitive_attr_t made = NULL;

    *attr = NULL;
    BIRD_TRY(bird_user_scratchpad(&made, err));
    BIRD_DNNL(dnnl_post_ops_create(&post_ops));
    if (sum) BIRD_DNNL(dnnl_post_ops_append_sum(post_ops, 1.0f, 0, dnnl_data_type_undef));
    if (relu) BIRD_DNNL(dnnl_post_ops_append_eltwise(post_ops, dnnl_eltwise_relu, 0.0f, 0.0f));
    BIRD_DNNL(dnnl_primitive_attr_set_post_ops(made, post_ops));
    *attr = made;
    made = NULL;
cleanup:
    dnnl_post_ops_destroy(post_ops);
    dnnl_primitive_attr_destroy(made);
    return status;
}

/* Put the table's kernel for `conv` in the place of oneDNN's first choice, where there is one. */
static bird_status choose_kernel(dnnl_primitive_desc_t *pd, const bird_conv *conv,
                                 dnnl_data_type_t type, bird_error *err) {
    bird_status status = BIRD_OK;
    const char *wanted = bird_conv_kernel(bird_isa_get(), conv), *name;
    dnnl_primitive_desc_t other = NULL;

    if (!wanted || type != dnnl_f32) return BIRD_OK;
    BIRD_DNNL(dnnl_primitive_desc_clone(&other, *pd));
    do {
        BIRD_DNNL(dnnl_primitive_desc_query(other, dnnl_query_impl_info_str, 0, &name));
        if (strncmp(name, wanted, strlen(wanted)) == 0) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = other;
            other = NULL;
            break;
        }
    } while (dnnl_primitive_desc_next_impl(other) == dnnl_success);
cleanup:
    dnnl_primitive_desc_destroy(other);
    return status;
}

static bird_status inference_pd(dnnl_primitive_desc_t *pd, dnnl_memory_desc_t *plain_weights,
                                const bird_conv *conv, dnnl_data_type_t type, bool sum, bool relu,
                                bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_memory_desc_t src = NULL, weights = NULL, bias = NULL, dst = NULL, plain = NULL;
    dnnl_primitive_attr_t attr = NULL;
    const dnnl_dims_t src_dims = {conv->n, conv->ic, conv->ih, conv->iw};
    const dnnl_dims_t weights_dims = {conv->oc, conv->ic, conv->kernel, conv->kernel};
    const dnnl_dims_t bias_dims = {conv->oc};
    const dnnl_dims_t dst_dims = {conv->n, conv->oc, bird_conv_out(conv, conv->ih),
                                  bird_conv_out(conv, conv->iw)};
    const dnnl_dims_t strides = {conv->stride, conv->stride};
    const dnnl_dims_t no_dilation = {0, 0};
    const dnnl_dims_t pad = {conv->pad, conv->pad};
    dnnl_format_tag_t layout = bird_conv_layout(bird_isa_get(), type, conv);
    /* Three channels fill no block: the first float32 kernel reads plain images. */
    dnnl_format_tag_t src_layout = conv->ic < 8 && type == dnnl_f32 ? dnnl_nchw : layout;

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&src, 4, src_dims, type, src_layout));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&weights, 4, weights_dims, type,
                                               dnnl_format_tag_any));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&plain, 4, weights_dims, dnnl_f32, dnnl_oihw));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_x));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&dst, 4, dst_dims, type, layout));
    BIRD_TRY(inference_attr(&attr, sum, relu, err));
    BIRD_DNNL(dnnl_convolution_forward_primitive_desc_create(
        pd, engine->engine, dnnl_forward_inference, dnnl_convolution_direct, src, weights, bias,
        dst, strides, no_dilation, pad, pad, attr));
    BIRD_TRY(choose_kernel(pd, conv, type, err));
    *plain_weights = plain;
    plain = NULL;
cleanup:
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(plain);
    dnnl_memory_desc_destroy(dst);
    dnnl_memory_desc_destroy(bias);
    dnnl_memory_desc_destroy(weights);
    dnnl_memory_desc_destroy(src);
    return status;
}

bird_status bird_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                bird_value residual, const bird_conv *conv, bool relu,
                                bird_packed *packed, int key, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t plain = NULL;
    bird_value src_value, dst_value, weights_value, bias_value;
    void *weights;
    float *bias;
    bool sum = residual != BIRD_NO_VALUE;
    const dnnl_data_type_t type = bird_plan_type(plan, src);

    *dst = BIRD_NO_VALUE;
    if (!sum && type == dnnl_f32 && bird_conv_is_winograd(bird_isa_get(), conv))
        return bird_winograd_conv_inference(plan, dst, src, conv, relu, packed, key, err);
    BIRD_TRY(inference_pd(&pd, &plain, conv, type, sum, relu, err));
    const_dnnl_memory_desc_t weights_md =
        dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    const_dnnl_memory_desc_t dst_md = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);

    BIRD_TRY(bird_packed_get(packed, &weights, &bias, key, weights_md, plain, NULL, err));
    BIRD_TRY(bird_plan_external(plan, &weights_value, weights_md, weights, err));
    BIRD_TRY(bird_plan_vector(plan, &bias_value, conv->oc, bias, err));
    BIRD_TRY(bird_plan_reordered(
        plan, &src_value, src, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), err));
    /* The sum reads and writes one place: dst is the residual, in dst's layout. */
    if (sum)
        BIRD_TRY(bird_plan_reordered(plan, &dst_value, residual, dst_md, err));
    else
        BIRD_TRY(bird_plan_value(plan, &dst_value, dst_md, err));

    const bird_arg args[] = {{DNNL_ARG_SRC, src_value},
                             {DNNL_ARG_WEIGHTS, weights_value},
                             {DNNL_ARG_BIAS, bias_value},
                             {DNNL_ARG_DST, dst_value}};
    BIRD_TRY(bird_plan_push(plan, pd, 4, args, err));
    *dst = dst_value;
cleanup:
    dnnl_memory_desc_destroy(plain);
    dnnl_primitive_desc_destroy(pd);
    return status;
}
