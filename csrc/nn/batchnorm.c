#include "nn/batchnorm.h"

#include "nn/channel_moments.h"
#include "nn/plan_build.h"

static unsigned flags_of(const bird_batchnorm *bn, bool fixed) {
    unsigned flags = dnnl_use_scale | dnnl_use_shift;
    if (bn->relu) flags |= dnnl_fuse_norm_relu;
    if (fixed) flags |= dnnl_use_global_stats;
    return flags;
}

static bird_status forward_pd(dnnl_primitive_desc_t *pd, const_dnnl_memory_desc_t md,
                              dnnl_prop_kind_t kind, const bird_batchnorm *bn, bool fixed,
                              const_dnnl_primitive_attr_t attr, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_DNNL(dnnl_batch_normalization_forward_primitive_desc_create(
        pd, engine->engine, kind, md, md, bn->eps, flags_of(bn, fixed), attr));
cleanup:
    return status;
}

/* Append dst from the given mean and var. */
static bird_status forward(bird_plan *plan, bird_value *dst, bird_value *mask, bird_value src,
                           dnnl_prop_kind_t kind, const bird_batchnorm *bn, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bird_value dst_value, mask_value = BIRD_NO_VALUE;
    int n_args = 6;

    *dst = BIRD_NO_VALUE;
    if (mask) *mask = BIRD_NO_VALUE;
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(forward_pd(&pd, bird_plan_md(plan, src), kind, bn, true, attr, err));
    BIRD_TRY(bird_plan_value(plan, &dst_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), err));
    bird_arg args[7] = {{DNNL_ARG_SRC, src},        {DNNL_ARG_DST, dst_value},
                        {DNNL_ARG_SCALE, bn->scale}, {DNNL_ARG_SHIFT, bn->shift},
                        {DNNL_ARG_MEAN, bn->mean},  {DNNL_ARG_VARIANCE, bn->var}};
    if (mask && bn->relu) {
        BIRD_TRY(bird_plan_value(plan, &mask_value,
                                 dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0),
                                 err));
        args[n_args++] = (bird_arg){DNNL_ARG_WORKSPACE, mask_value};
    }
    BIRD_TRY(bird_plan_push(plan, pd, n_args, args, err));
    *dst = dst_value;
    if (mask) *mask = mask_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

bird_status bird_batchnorm_forward(bird_plan *plan, bird_value *dst, bird_value *mask,
                                   bird_value src, const bird_batchnorm *bn, bird_error *err) {
    bird_status status = BIRD_OK;
    *dst = *mask = BIRD_NO_VALUE;
    if (!bn->fixed) BIRD_TRY(bird_channel_moments(plan, bn->mean, bn->var, src, err));
    BIRD_TRY(forward(plan, dst, mask, src, dnnl_forward_training, bn, err));
cleanup:
    return status;
}

bird_status bird_batchnorm_again(bird_plan *plan, bird_value *dst, bird_value src,
                                 const bird_batchnorm *bn, bird_error *err) {
    return forward(plan, dst, NULL, src, dnnl_forward_inference, bn, err);
}

bird_status bird_batchnorm_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_scale,
                                    bird_value diff_shift, bird_value diff_dst, bird_value src,
                                    bird_value mask, const bird_batchnorm *bn, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    bird_value diff_src_value;
    int n_args = 8;

    *diff_src = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    const_dnnl_memory_desc_t md = bird_plan_md(plan, src);
    BIRD_TRY(forward_pd(&hint, md, dnnl_forward_training, bn, bn->fixed, attr, err));
    BIRD_DNNL(dnnl_batch_normalization_backward_primitive_desc_create(
        &pd, engine->engine, dnnl_backward, md, md, md, bn->eps, flags_of(bn, bn->fixed), hint,
        attr));
    BIRD_TRY(bird_plan_reordered(plan, &diff_dst, diff_dst, md, err));
    BIRD_TRY(bird_plan_value(plan, &diff_src_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_diff_src_md, 0), err));
    bird_arg args[9] = {{DNNL_ARG_SRC, src},
                        {DNNL_ARG_DIFF_DST, diff_dst},
                        {DNNL_ARG_DIFF_SRC, diff_src_value},
                        {DNNL_ARG_SCALE, bn->scale},
                        {DNNL_ARG_MEAN, bn->mean},
                        {DNNL_ARG_VARIANCE, bn->var},
                        {DNNL_ARG_DIFF_SCALE, diff_scale},
                        {DNNL_ARG_DIFF_SHIFT, diff_shift}};
    if (bn->relu) args[n_args++] = (bird_arg){DNNL_ARG_WORKSPACE, mask};
    BIRD_TRY(bird_plan_push(plan, pd, n_args, args, err));
    *diff_src = diff_src_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_attr_destroy(attr);
    return status;
}
