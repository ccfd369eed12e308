#include "nn/precision.h"

#include "nn/conv_table.h"
#include "nn/plan_build.h"

bird_status bird_in_precision(bird_plan *plan, bird_value *out, bird_value from,
                              bird_precision precision, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_data_type_t type = precision == BIRD_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t md = NULL;
    dnnl_dims_t *dims = NULL;

    *out = BIRD_NO_VALUE;
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, from), dnnl_query_dims, &dims));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(
        &md, 4, *dims, type, bird_training_layout(bird_isa_get(), type, (*dims)[1])));
    BIRD_TRY(bird_plan_reordered(plan, out, from, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

bird_status bird_precision_require(bird_precision precision, const char *what, bird_error *err) {
    if (precision == BIRD_BFLOAT16 && !bird_isa_has_bf16())
        return bird_fail(err, BIRD_BACKEND,
                         "%s in bfloat16 needs a processor with AVX512_BF16 or AMX, but oneDNN "
                         "found %s; use float32", what, bird_isa_name());
    if (precision == BIRD_INT8 && !bird_isa_has_int8())
        return bird_fail(err, BIRD_BACKEND,
                         "%s in int8 needs a processor with AVX2, but oneDNN found "
                         "%s; use float32", what, bird_isa_name());
    return BIRD_OK;
}
