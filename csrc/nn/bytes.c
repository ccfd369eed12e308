#include "nn/bytes.h"

#include "nn/plan_build.h"

bird_bytes bird_bytes_for(float range, bool both) {
    const float steps = both ? 127 : 255;
    return (bird_bytes){
        .value = BIRD_NO_VALUE,
        .scale = range > 0 ? range / steps : 1, /* all zero: any will do */
        .zero = both ? 128 : 0,
    };
}

bird_status bird_bytes_of(bird_plan *plan, bird_bytes *bytes, bird_value from, float range,
                          bird_error *err) {
    bird_status status = BIRD_OK;
    bird_bytes made = bird_bytes_for(range, false);
    const bird_engine *engine;
    dnnl_memory_desc_t md = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_dims_t *dims = NULL;
    bird_value scale;

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, from), dnnl_query_dims, &dims));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, 4, *dims, dnnl_u8, dnnl_nhwc));
    BIRD_TRY(bird_plan_value(plan, &made.value, md, err));
    BIRD_TRY(bird_plan_constant(plan, &scale, dnnl_f32, &made.scale, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_DST, 0));
    BIRD_DNNL(dnnl_reorder_primitive_desc_create(&pd, bird_plan_md(plan, from), engine->engine, md,
                                                 engine->engine, attr));
    const bird_arg args[] = {{DNNL_ARG_FROM, from},
                             {DNNL_ARG_TO, made.value},
                             {DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, scale}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
    *bytes = made;
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(md);
    return status;
}
