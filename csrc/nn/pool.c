#include "nn/pool.h"

#include "nn/plan_build.h"

/* What is missing on the far side for `out` windows. */
static int far_pad(const bird_pool *pool, int in, int out) {
    return (out - 1) * pool->stride + pool->kernel - in - pool->pad;
}

static bird_status pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                  const bird_pool *pool, dnnl_alg_kind_t algorithm,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_memory_desc_t dst_md = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bird_value dst_value;
    const dnnl_dims_t dst_dims = {pool->n, pool->c, pool->oh, pool->ow};
    const dnnl_dims_t strides = {pool->stride, pool->stride};
    const dnnl_dims_t kernel = {pool->kernel, pool->kernel};
    const dnnl_dims_t no_dilation = {0, 0};
    const dnnl_dims_t pad_near = {pool->pad, pool->pad};
    const dnnl_dims_t pad_far = {far_pad(pool, pool->ih, pool->oh),
                                 far_pad(pool, pool->iw, pool->ow)};

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    /* any: oneDNN then follows src's layout. */
    BIRD_DNNL(
        dnnl_memory_desc_create_with_tag(&dst_md, 4, dst_dims, dnnl_f32, dnnl_format_tag_any));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_pooling_forward_primitive_desc_create(
        &pd, engine->engine, dnnl_forward_inference, algorithm, bird_plan_md(plan, src), dst_md,
        strides, kernel, no_dilation, pad_near, pad_far, attr));
    BIRD_TRY(bird_plan_value(plan, &dst_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), err));
    const bird_arg args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst_value}};
    BIRD_TRY(bird_plan_push(plan, pd, 2, args, err));
    *dst = dst_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(dst_md);
    return status;
}

bird_status bird_max_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                    const bird_pool *pool, bird_error *err) {
    return pool_inference(plan, dst, src, pool, dnnl_pooling_max, err);
}

bird_status bird_average_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                        const bird_pool *pool, bird_error *err) {
    return pool_inference(plan, dst, src, pool, dnnl_pooling_avg_exclude_padding, err);
}
