#include "nn/add_relu.h"

#include <stdbool.h>

#include "nn/plan_build.h"

static bird_status add(bird_plan *plan, bird_value *dst, bird_value a, bird_value b, bool relu,
                       bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post_ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    const_dnnl_memory_desc_t md;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_post_ops_create(&post_ops));
    if (relu) BIRD_DNNL(dnnl_post_ops_append_eltwise(post_ops, dnnl_eltwise_relu, 0.0f, 0.0f));
    BIRD_DNNL(dnnl_primitive_attr_set_post_ops(attr, post_ops));
    BIRD_TRY(bird_plan_reordered(plan, &b, b, bird_plan_md(plan, a), err));
    md = bird_plan_md(plan, a);
    BIRD_DNNL(dnnl_binary_primitive_desc_create(&pd, engine->engine, dnnl_binary_add, md, md, md,
                                                attr));
    const bird_arg args[] = {{DNNL_ARG_SRC_0, a}, {DNNL_ARG_SRC_1, b}, {DNNL_ARG_DST, a}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *dst = a;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_post_ops_destroy(post_ops);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

bird_status bird_add_relu_forward(bird_plan *plan, bird_value *dst, bird_value a, bird_value b,
                                  bird_error *err) {
    return add(plan, dst, a, b, true, err);
}

bird_status bird_add(bird_plan *plan, bird_value *sum, bird_value a, bird_value b,
                     bird_error *err) {
    return add(plan, sum, a, b, false, err);
}

bird_status bird_add_relu_backward(bird_plan *plan, bird_value *diff, bird_value diff_dst,
                                   bird_value dst, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    const_dnnl_memory_desc_t md;

    *diff = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(bird_plan_reordered(plan, &diff_dst, diff_dst, bird_plan_md(plan, dst), err));
    md = bird_plan_md(plan, dst);
    BIRD_DNNL(dnnl_eltwise_forward_primitive_desc_create(
        &hint, engine->engine, dnnl_forward_training, dnnl_eltwise_relu_use_dst_for_bwd, md, md,
        0.0f, 0.0f, attr));
    BIRD_DNNL(dnnl_eltwise_backward_primitive_desc_create(
        &pd, engine->engine, dnnl_eltwise_relu_use_dst_for_bwd, md, md, md, 0.0f, 0.0f, hint,
        attr));
    const bird_arg args[] = {
        {DNNL_ARG_DST, dst}, {DNNL_ARG_DIFF_DST, diff_dst}, {DNNL_ARG_DIFF_SRC, diff_dst}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *diff = diff_dst;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_attr_destroy(attr);
    return status;
}
