#include "nn/conv_transformed.h"

#include "nn/conv_pd.h"
#include "nn/plan_build.h"

bird_status bird_conv_transformed(bird_plan *plan, bird_value *weights, bird_value *bias,
                                  const bird_conv *conv, size_t count,
                                  bird_weights_transform transform, bird_packed *packed, int key,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t plain_md = NULL, own_md = NULL;
    void *data;
    float *bias_data;

    BIRD_TRY(bird_plain_weights_md(&plain_md, conv, err));
    BIRD_TRY(bird_floats_md(&own_md, count, err));
    BIRD_TRY(bird_packed_get(packed, &data, &bias_data, NULL, key, own_md, plain_md, transform,
                             err));
    BIRD_TRY(bird_plan_vector(plan, weights, (int)count, data, err));
    BIRD_TRY(bird_plan_vector(plan, bias, conv->oc, bias_data, err));
cleanup:
    dnnl_memory_desc_destroy(own_md);
    dnnl_memory_desc_destroy(plain_md);
    return status;
}
