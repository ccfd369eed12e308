#include "nn/conv_int8.h"

#include "nn/bytes_build.h"
#include "nn/conv_pd.h"
#include "nn/packed_build.h"

/* Make the attribute of the step. Scales and zero points become arguments of the step, except those
 * of the residual, which are part of the attribute. The caller frees *attr. */
static bird_status int8_attr(dnnl_primitive_attr_t *attr, const bird_bytes *src,
                             const bird_bytes *dst, const bird_bytes *residual, bool relu,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_attr_t made = NULL;

    *attr = NULL;
    BIRD_TRY(bird_user_scratchpad(&made, err));
    BIRD_DNNL(dnnl_primitive_attr_set_scales_mask(made, DNNL_ARG_WEIGHTS, 1)); /* one per filter */
    BIRD_TRY(bird_bytes_expect(made, src, DNNL_ARG_SRC, err));
    BIRD_TRY(bird_bytes_expect(made, dst, DNNL_ARG_DST, err));
    BIRD_TRY(bird_conv_post_ops(made, residual, dnnl_u8, relu, err));
    *attr = made;
    made = NULL;
cleanup:
    dnnl_primitive_attr_destroy(made);
    return status;
}

/* Fill in `args` with the weights, the bias and the scales of the weights. */
static bird_status constants(bird_plan *plan, bird_arg args[3], dnnl_primitive_desc_t pd,
                             const bird_conv *conv, bird_packed *packed, int key,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_memory_desc_t plain = NULL;
    void *weights;
    float *bias, *scales;

    BIRD_TRY(bird_plain_weights_md(&plain, conv, err));
    BIRD_TRY(bird_packed_get(packed, &weights, &bias, &scales, key, md, plain, NULL, err));
    args[0].name = DNNL_ARG_WEIGHTS;
    args[1].name = DNNL_ARG_BIAS;
    args[2].name = DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS;
    BIRD_TRY(bird_plan_external(plan, &args[0].value, md, weights, err));
    BIRD_TRY(bird_plan_vector(plan, &args[1].value, conv->oc, bias, err));
    BIRD_TRY(bird_plan_vector(plan, &args[2].value, conv->oc, scales, err));
cleanup:
    dnnl_memory_desc_destroy(plain);
    return status;
}

bird_status bird_conv_int8(bird_plan *plan, bird_bytes *dst, const bird_bytes *src,
                           const bird_bytes *residual, const bird_conv *conv, bool relu,
                           float range, bird_packed *packed, int key, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv_types types = {.src = dnnl_u8, .weights = dnnl_s8, .dst = dnnl_u8,
                                   .src_layout = dnnl_nhwc, .dst_layout = dnnl_nhwc};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bird_bytes made = bird_bytes_for(range, !relu);
    bird_arg args[9] = {{DNNL_ARG_SRC, src->value},
                        {DNNL_ARG_DST, residual ? residual->value : BIRD_NO_VALUE}};
    int n_args = 2;

    BIRD_TRY(int8_attr(&attr, src, &made, residual, relu, err));
    BIRD_TRY(bird_conv_pd(&pd, conv, types, attr, err));
    if (!residual)
        BIRD_TRY(bird_plan_value(plan, &args[1].value,
                                 dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), err));
    BIRD_TRY(bird_bytes_append(plan, args, &n_args, src, DNNL_ARG_SRC, err));
    BIRD_TRY(bird_bytes_append(plan, args, &n_args, &made, DNNL_ARG_DST, err));
    BIRD_TRY(constants(plan, args + n_args, pd, conv, packed, key, err));
    BIRD_TRY(bird_plan_push(plan, pd, n_args + 3, args, err));
    made.value = args[1].value;
    *dst = made;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}
