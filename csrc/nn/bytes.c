#include "nn/bytes.h"

#include "nn/bytes_build.h"

bird_bytes bird_bytes_for(float range, bool both) {
    const float steps = both ? 127 : 255;
    return (bird_bytes){
        .value = BIRD_NO_VALUE,
        .scale = range > 0 ? range / steps : 1, /* if all values are 0, any scale will do */
        .zero = both ? 128 : 0,
    };
}

bird_status bird_bytes_expect(dnnl_primitive_attr_t attr, const bird_bytes *bytes, int whose,
                              bird_error *err) {
    bird_status status = BIRD_OK;
    BIRD_DNNL(dnnl_primitive_attr_set_scales_mask(attr, whose, 0));
    if (bytes->zero) BIRD_DNNL(dnnl_primitive_attr_set_zero_points_mask(attr, whose, 0));
cleanup:
    return status;
}

bird_status bird_bytes_append(bird_plan *plan, bird_arg *args, int *n_args,
                              const bird_bytes *bytes, int whose, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_arg *scale = &args[(*n_args)++];
    scale->name = DNNL_ARG_ATTR_SCALES | whose;
    BIRD_TRY(bird_plan_constant(plan, &scale->value, dnnl_f32, &bytes->scale, err));
    if (bytes->zero) {
        bird_arg *zero = &args[(*n_args)++];
        zero->name = DNNL_ARG_ATTR_ZERO_POINTS | whose;
        BIRD_TRY(bird_plan_constant(plan, &zero->value, dnnl_s32, &bytes->zero, err));
    }
cleanup:
    return status;
}

/* Append a reorder. `bytes` describes its input (whose: DNNL_ARG_SRC) or output (DNNL_ARG_DST). */
static bird_status scaled_copy(bird_plan *plan, bird_value to, bird_value from,
                               const bird_bytes *bytes, int whose, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bird_arg args[4] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    int n_args = 2;

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(bird_bytes_expect(attr, bytes, whose, err));
    BIRD_DNNL(dnnl_reorder_primitive_desc_create(&pd, bird_plan_md(plan, from), engine->engine,
                                                 bird_plan_md(plan, to), engine->engine, attr));
    BIRD_TRY(bird_bytes_append(plan, args, &n_args, bytes, whose, err));
    BIRD_TRY(bird_plan_push(plan, pd, n_args, args, err));
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

/* Add a slab value (n, c, h, w) of that type in nhwc, with the shape of `shaped`. */
static bird_status like(bird_plan *plan, bird_value *made, bird_value shaped,
                        dnnl_data_type_t type, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    BIRD_TRY(bird_md_like(&md, plan, shaped, type, dnnl_nhwc, err));
    BIRD_TRY(bird_plan_value(plan, made, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

bird_status bird_bytes_of(bird_plan *plan, bird_bytes *bytes, bird_value from, float range,
                          bool both, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_bytes made = bird_bytes_for(range, both);
    BIRD_TRY(like(plan, &made.value, from, dnnl_u8, err));
    BIRD_TRY(scaled_copy(plan, made.value, from, &made, DNNL_ARG_DST, err));
    *bytes = made;
cleanup:
    return status;
}

bird_status bird_bytes_values(bird_plan *plan, bird_value *values, const bird_bytes *bytes,
                              bird_error *err) {
    bird_status status = BIRD_OK;
    BIRD_TRY(like(plan, values, bytes->value, dnnl_f32, err));
    BIRD_TRY(scaled_copy(plan, *values, bytes->value, bytes, DNNL_ARG_SRC, err));
cleanup:
    return status;
}
