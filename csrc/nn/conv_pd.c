#include "nn/conv_pd.h"

bird_status bird_conv_pd(dnnl_primitive_desc_t *pd, const bird_conv *conv, bird_conv_types types,
                         const_dnnl_primitive_attr_t attr, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_memory_desc_t src = NULL, weights = NULL, bias = NULL, dst = NULL;
    const dnnl_dims_t src_dims = {conv->n, conv->ic, conv->ih, conv->iw};
    const dnnl_dims_t weights_dims = {conv->oc, conv->ic, conv->kernel, conv->kernel};
    const dnnl_dims_t bias_dims = {conv->oc};
    const dnnl_dims_t dst_dims = {conv->n, conv->oc, bird_conv_out(conv, conv->ih),
                                  bird_conv_out(conv, conv->iw)};
    const dnnl_dims_t strides = {conv->stride, conv->stride};
    const dnnl_dims_t no_dilation = {0, 0};
    const dnnl_dims_t pad = {conv->pad, conv->pad};

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&src, 4, src_dims, types.src, types.src_layout));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&weights, 4, weights_dims, types.weights,
                                               dnnl_format_tag_any));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_x));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&dst, 4, dst_dims, types.dst, types.dst_layout));
    BIRD_DNNL(dnnl_convolution_forward_primitive_desc_create(
        pd, engine->engine, dnnl_forward_inference, dnnl_convolution_direct, src, weights, bias,
        dst, strides, no_dilation, pad, pad, attr));
cleanup:
    dnnl_memory_desc_destroy(dst);
    dnnl_memory_desc_destroy(bias);
    dnnl_memory_desc_destroy(weights);
    dnnl_memory_desc_destroy(src);
    return status;
}

bird_status bird_conv_post_ops(dnnl_primitive_attr_t attr, const bird_bytes *residual,
                               dnnl_data_type_t type, bool relu, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_post_ops_t post_ops = NULL;

    BIRD_DNNL(dnnl_post_ops_create(&post_ops));
    if (residual)
        BIRD_DNNL(dnnl_post_ops_append_sum(post_ops, residual->scale, residual->zero, type));
    if (relu) BIRD_DNNL(dnnl_post_ops_append_eltwise(post_ops, dnnl_eltwise_relu, 0.0f, 0.0f));
    BIRD_DNNL(dnnl_primitive_attr_set_post_ops(attr, post_ops));
cleanup:
    dnnl_post_ops_destroy(post_ops);
    return status;
}

bird_status bird_plain_weights_md(dnnl_memory_desc_t *md, const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dims_t dims = {conv->oc, conv->ic, conv->kernel, conv->kernel};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(md, 4, dims, dnnl_f32, dnnl_oihw));
cleanup:
    return status;
}
