#include "nn/conv.h"

#include <string.h>

#include "nn/conv_pd.h"
#include "nn/conv_split.h"
#include "nn/conv_table.h"
#include "nn/conv_winograd.h"
#include "nn/packed_build.h"
#include "nn/plan_build.h"

int bird_conv_out(const bird_conv *conv, int in) {
    return (in + 2 * conv->pad - conv->kernel) / conv->stride + 1;
}

/* Move on to oneDNN's next choices until the kernel's name begins with `wanted`. *found is false if
 * there is none. Works only on the original descriptor: a clone has no next choice. */
static bird_status find_kernel(bool *found, dnnl_primitive_desc_t pd, const char *wanted,
                               bird_error *err) {
    bird_status status = BIRD_OK;
    const char *name;

    *found = false;
    do {
        BIRD_DNNL(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
        *found = strncmp(name, wanted, strlen(wanted)) == 0;
    } while (!*found && dnnl_primitive_desc_next_impl(pd) == dnnl_success);
cleanup:
    return status;
}

static bird_status inference_pd(dnnl_primitive_desc_t *pd, const bird_conv *conv,
                                dnnl_data_type_t type, bool sum, bool relu, bird_error *err) {
    bird_status status = BIRD_OK;
    bool found = false;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t made = NULL;
    const char *wanted = bird_conv_kernel(bird_isa_get(), type, conv);
    const dnnl_format_tag_t layout = bird_conv_layout(bird_isa_get(), type, conv);
    /* Three channels do not fill a block, so the first float32 kernel reads plain images. */
    const bool plain = conv->ic < 8 && type == dnnl_f32;
    const bird_conv_types types = {.src = type, .weights = type, .dst = type,
                                   .src_layout = plain ? dnnl_nchw : layout,
                                   .dst_layout = layout};
    const bird_bytes as_it_is = {.scale = 1};

    *pd = NULL;
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_TRY(bird_conv_post_ops(attr, sum ? &as_it_is : NULL, dnnl_data_type_undef, relu, err));
    BIRD_TRY(bird_conv_pd(&made, conv, types, attr, err));
    if (wanted) BIRD_TRY(find_kernel(&found, made, wanted, err));
    if (wanted && !found) {
        dnnl_primitive_desc_destroy(made);
        made = NULL;
        BIRD_TRY(bird_conv_pd(&made, conv, types, attr, err));
    }
    *pd = made;
    made = NULL;
cleanup:
    dnnl_primitive_desc_destroy(made);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

bird_status bird_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                bird_value residual, const bird_conv *conv, bool relu,
                                bird_packed *packed, int key, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t plain = NULL;
    bird_value src_value, dst_value, weights_value, bias_value;
    void *weights;
    float *bias;
    bool sum = residual != BIRD_NO_VALUE;
    const dnnl_data_type_t type = bird_plan_type(plan, src);

    *dst = BIRD_NO_VALUE;
    if (bird_conv_is_split(type, conv))
        return bird_split_conv_inference(plan, dst, src, residual, conv, relu, packed, key, err);
    if (!sum)
        switch (bird_conv_winograd(bird_isa_get(), type, conv)) {
            case 4:
                return bird_winograd4_conv_inference(plan, dst, src, conv, relu, packed, key, err);
            case 2:
                return bird_winograd_conv_inference(plan, dst, src, conv, relu, packed, key, err);
            default:
                break;
        }
    BIRD_TRY(inference_pd(&pd, conv, type, sum, relu, err));
    BIRD_TRY(bird_plain_weights_md(&plain, conv, err));
    const_dnnl_memory_desc_t weights_md =
        dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    const_dnnl_memory_desc_t dst_md = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);

    BIRD_TRY(bird_packed_get(packed, &weights, &bias, NULL, key, weights_md, plain, NULL, err));
    BIRD_TRY(bird_plan_external(plan, &weights_value, weights_md, weights, err));
    BIRD_TRY(bird_plan_vector(plan, &bias_value, conv->oc, bias, err));
    BIRD_TRY(bird_plan_reordered(
        plan, &src_value, src, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), err));
    /* The sum is computed in place: dst is the residual, in dst's layout. */
    if (sum)
        BIRD_TRY(bird_plan_reordered(plan, &dst_value, residual, dst_md, err));
    else
        BIRD_TRY(bird_plan_value(plan, &dst_value, dst_md, err));

    const bird_arg args[] = {{DNNL_ARG_SRC, src_value},
                             {DNNL_ARG_WEIGHTS, weights_value},
                             {DNNL_ARG_BIAS, bias_value},
                             {DNNL_ARG_DST, dst_value}};
    BIRD_TRY(bird_plan_push(plan, pd, 4, args, err));
    *dst = dst_value;
cleanup:
    dnnl_memory_desc_destroy(plain);
    dnnl_primitive_desc_destroy(pd);
    return status;
}
