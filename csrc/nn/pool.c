#include "nn/pool.h"

#include "nn/conv_table.h"
#include "nn/max_pool_nhwc.h"
#include "nn/plan_build.h"

/* Return the padding at the bottom or right that `out` windows need. */
static int far_pad(const bird_pool *pool, int in, int out) {
    return (out - 1) * pool->stride + pool->kernel - in - pool->pad;
}

static bird_status forward_pd(dnnl_primitive_desc_t *pd, const bird_pool *pool,
                              dnnl_prop_kind_t kind, dnnl_alg_kind_t algorithm,
                              const_dnnl_memory_desc_t src, const_dnnl_primitive_attr_t attr,
                              bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_memory_desc_t dst = NULL;
    dnnl_data_type_t type;
    const dnnl_dims_t dst_dims = {pool->n, pool->c, pool->oh, pool->ow};
    const dnnl_dims_t strides = {pool->stride, pool->stride};
    const dnnl_dims_t kernel = {pool->kernel, pool->kernel};
    const dnnl_dims_t no_dilation = {0, 0};
    const dnnl_dims_t pad_near = {pool->pad, pool->pad};
    const dnnl_dims_t pad_far = {far_pad(pool, pool->ih, pool->oh),
                                 far_pad(pool, pool->iw, pool->ow)};

    BIRD_TRY(bird_engine_get(&engine, err));
    /* With format_tag_any, oneDNN follows the layout of src. */
    BIRD_DNNL(dnnl_memory_desc_query(src, dnnl_query_data_type, &type));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&dst, 4, dst_dims, type, dnnl_format_tag_any));
    BIRD_DNNL(dnnl_pooling_forward_primitive_desc_create(pd, engine->engine, kind, algorithm, src,
                                                         dst, strides, kernel, no_dilation,
                                                         pad_near, pad_far, attr));
cleanup:
    dnnl_memory_desc_destroy(dst);
    return status;
}

/* `winners` may be NULL (not needed). */
static bird_status forward(bird_plan *plan, bird_value *dst, bird_value *winners, bird_value src,
                           const bird_pool *pool, dnnl_prop_kind_t kind,
                           dnnl_alg_kind_t algorithm, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bird_value dst_value, winners_value = BIRD_NO_VALUE;
    int n_args = 2;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(forward_pd(&pd, pool, kind, algorithm, bird_plan_md(plan, src), attr, err));
    BIRD_TRY(bird_plan_value(plan, &dst_value,
                             dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), err));
    bird_arg args[3] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst_value}};
    if (winners) {
        BIRD_TRY(bird_plan_value(plan, &winners_value,
                                 dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0),
                                 err));
        args[n_args++] = (bird_arg){DNNL_ARG_WORKSPACE, winners_value};
        *winners = winners_value;
    }
    BIRD_TRY(bird_plan_push(plan, pd, n_args, args, err));
    *dst = dst_value;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

static bird_status backward(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                            bird_value winners, const bird_pool *pool, dnnl_alg_kind_t algorithm,
                            bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t src = NULL;
    bird_value diff_src_value;
    const dnnl_data_type_t type = bird_plan_type(plan, diff_dst);
    const dnnl_dims_t src_dims = {pool->n, pool->c, pool->ih, pool->iw};
    const dnnl_dims_t strides = {pool->stride, pool->stride};
    const dnnl_dims_t kernel = {pool->kernel, pool->kernel};
    const dnnl_dims_t no_dilation = {0, 0};
    const dnnl_dims_t pad_near = {pool->pad, pool->pad};
    const dnnl_dims_t pad_far = {far_pad(pool, pool->ih, pool->oh),
                                 far_pad(pool, pool->iw, pool->ow)};

    *diff_src = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&src, 4, src_dims, type,
                                               bird_training_layout(bird_isa_get(), type,
                                                                    pool->c)));
    BIRD_TRY(forward_pd(&hint, pool, dnnl_forward_training, algorithm, src, attr, err));
    const_dnnl_memory_desc_t dst = dnnl_primitive_desc_query_md(hint, dnnl_query_dst_md, 0);
    BIRD_DNNL(dnnl_pooling_backward_primitive_desc_create(&pd, engine->engine, algorithm, src, dst,
                                                          strides, kernel, no_dilation, pad_near,
                                                          pad_far, hint, attr));
    BIRD_TRY(bird_plan_reordered(plan, &diff_dst, diff_dst, dst, err));
    BIRD_TRY(bird_plan_value(plan, &diff_src_value, src, err));
    const bird_arg args[3] = {{DNNL_ARG_DIFF_DST, diff_dst},
                              {DNNL_ARG_DIFF_SRC, diff_src_value},
                              {DNNL_ARG_WORKSPACE, winners}};
    BIRD_TRY(bird_plan_push(plan, pd, winners == BIRD_NO_VALUE ? 2 : 3, args, err));
    *diff_src = diff_src_value;
cleanup:
    dnnl_memory_desc_destroy(src);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

bird_status bird_max_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                    const bird_pool *pool, bird_error *err) {
    if (bird_max_pool_nhwc_fits(plan, src, pool))
        return bird_max_pool_nhwc(plan, dst, src, pool, err);
    return forward(plan, dst, NULL, src, pool, dnnl_forward_inference, dnnl_pooling_max, err);
}

bird_status bird_max_pool_forward(bird_plan *plan, bird_value *dst, bird_value *winners,
                                  bird_value src, const bird_pool *pool, bird_error *err) {
    return forward(plan, dst, winners, src, pool, dnnl_forward_training, dnnl_pooling_max, err);
}

bird_status bird_max_pool_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                                   bird_value winners, const bird_pool *pool, bird_error *err) {
    return backward(plan, diff_src, diff_dst, winners, pool, dnnl_pooling_max, err);
}

bird_status bird_average_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                        const bird_pool *pool, bird_error *err) {
    return forward(plan, dst, NULL, src, pool, dnnl_forward_inference,
                   dnnl_pooling_avg_exclude_padding, err);
}

bird_status bird_average_pool_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                      const bird_pool *pool, bird_error *err) {
    return forward(plan, dst, NULL, src, pool, dnnl_forward_training,
                   dnnl_pooling_avg_exclude_padding, err);
}

bird_status bird_average_pool_backward(bird_plan *plan, bird_value *diff_src,
                                       bird_value diff_dst, const bird_pool *pool,
                                       bird_error *err) {
    return backward(plan, diff_src, diff_dst, BIRD_NO_VALUE, pool,
                    dnnl_pooling_avg_exclude_padding, err);
}
