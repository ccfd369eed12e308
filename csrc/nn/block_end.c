#include "nn/block_end.h"

#include "nn/block_end_steps.h"
#include "nn/channel_moments.h"
#include "nn/plan_build.h"

bird_status bird_block_end_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                   bird_value shortcut, const bird_batchnorm *bn,
                                   bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_dims_t *dims = NULL;
    bird_value made;

    *dst = BIRD_NO_VALUE;
    if (!bn->fixed) BIRD_TRY(bird_channel_moments(plan, bn->mean, bn->var, src, err));
    BIRD_TRY(bird_plan_reordered(plan, &shortcut, shortcut, bird_plan_md(plan, src), err));
    BIRD_TRY(bird_plan_value(plan, &made, bird_plan_md(plan, src), err));
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, src), dnnl_query_dims, &dims));
    const size_t n = (size_t)(*dims)[0], c = (size_t)(*dims)[1];
    const size_t pixels = (size_t)((*dims)[2] * (*dims)[3]);
    const bird_value values[] = {made, src, shortcut, bn->mean, bn->var, bn->scale, bn->shift};
    if (bird_plan_type(plan, src) == dnnl_bf16)
        BIRD_TRY(bird_block_end_forward_bf16(plan, n, c, pixels, bn->eps, values, err));
    else
        BIRD_TRY(bird_block_end_forward_f32(plan, n, c, pixels, bn->eps, values, err));
    *dst = made;
cleanup:
    return status;
}

bird_status bird_block_end_backward(bird_plan *plan, bird_value *diff, bird_value a, bird_value b,
                                    bird_value dst, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_dims_t *dims = NULL;
    const int n_values = b == BIRD_NO_VALUE ? 2 : 3;

    *diff = BIRD_NO_VALUE;
    BIRD_TRY(bird_plan_reordered(plan, &a, a, bird_plan_md(plan, dst), err));
    if (n_values == 3) BIRD_TRY(bird_plan_reordered(plan, &b, b, bird_plan_md(plan, dst), err));
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, dst), dnnl_query_dims, &dims));
    const size_t c = (size_t)(*dims)[1];
    const size_t count = (size_t)((*dims)[0] * (*dims)[2] * (*dims)[3]) * c;
    const bird_value values[] = {a, dst, b};
    if (bird_plan_type(plan, dst) == dnnl_bf16)
        BIRD_TRY(bird_block_end_backward_bf16(plan, count, n_values, values, err));
    else
        BIRD_TRY(bird_block_end_backward_f32(plan, count, c, n_values, values, err));
    *diff = a;
cleanup:
    return status;
}

bird_status bird_add(bird_plan *plan, bird_value *sum, bird_value a, bird_value b,
                     bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    const_dnnl_memory_desc_t md;

    *sum = BIRD_NO_VALUE;
    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(bird_plan_reordered(plan, &b, b, bird_plan_md(plan, a), err));
    md = bird_plan_md(plan, a);
    BIRD_DNNL(dnnl_binary_primitive_desc_create(&pd, engine->engine, dnnl_binary_add, md, md, md,
                                                attr));
    const bird_arg args[] = {{DNNL_ARG_SRC_0, a}, {DNNL_ARG_SRC_1, b}, {DNNL_ARG_DST, a}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *sum = a;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}
