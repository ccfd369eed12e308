#include "nn/conv_winograd.h"

#include "nn/packed_build.h"
#include "nn/plan_build.h"
#include "nn/winograd.h"

/* data: dst, src, u, v, m, bias. */
static void inference_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_forward(context, data[0], data[1], data[2], data[5], data[3], data[4],
                          n_threads);
}

/* data: diff_src, diff_dst, u, v, m. */
static void backward_data_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_forward(context, data[0], data[1], data[2], NULL, data[3], data[4], n_threads);
}

/* data: u, plain weights. */
static void weights_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_weights(context, data[0], data[1], true, n_threads);
}

/* data: diff_weights, src, diff_dst, v, m, u. */
static void backward_weights_step(const void *context, void *const *data, int n_threads) {
    bird_winograd_backward_weights(context, data[0], data[1], data[2], data[3], data[4], data[5],
                                   n_threads);
}

static bird_status floats(dnnl_memory_desc_t *md, size_t count, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dims_t dims = {(dnnl_dim_t)count};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(md, 1, dims, dnnl_f32, dnnl_x));
cleanup:
    return status;
}

/* A slab value of so many floats. */
static bird_status scratch(bird_plan *plan, bird_value *value, size_t count, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    BIRD_TRY(floats(&md, count, err));
    BIRD_TRY(bird_plan_value(plan, value, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* `value` (n, c, h, w) as the kernels read it. */
static bird_status blocked(bird_plan *plan, bird_value *out, bird_value value,
                           const bird_winograd *of, int channels, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    BIRD_TRY(bird_tensor_md(&md, of->n, channels, of->h, of->w, dnnl_nChw8c, err));
    BIRD_TRY(bird_plan_reordered(plan, out, value, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* The convolution proper; no `bias` in a backward pass. */
static bird_status push(bird_plan *plan, bird_value *dst, bird_value src, bird_value u,
                        bird_value bias, const bird_winograd *of, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    bird_value v, m, made;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(blocked(plan, &src, src, of, of->ic, err));
    BIRD_TRY(bird_tensor_md(&md, of->n, of->oc, of->h, of->w, dnnl_nChw8c, err));
    BIRD_TRY(bird_plan_value(plan, &made, md, err));
    BIRD_TRY(scratch(plan, &v, bird_winograd_scratch(of, of->ic), err));
    BIRD_TRY(scratch(plan, &m, bird_winograd_scratch(of, of->oc), err));
    const bird_value values[] = {made, src, u, v, m, bias};
    if (bias == BIRD_NO_VALUE)
        BIRD_TRY(bird_plan_push_custom(plan, backward_data_step, of, sizeof *of, 5, values, err));
    else
        BIRD_TRY(bird_plan_push_custom(plan, inference_step, of, sizeof *of, 6, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* --- inference: weights transformed once ------------------------------------------------ */

/* A bird_weights_transform. */
static void transform(float *to, const float *plain, int oc, int ic) {
    const bird_winograd of = {.oc = oc, .ic = ic};
    bird_winograd_weights(&of, to, plain, false, 1);
}

/* The transformed weights and the bias, as values. */
static bird_status constants(bird_plan *plan, bird_value *u, bird_value *bias,
                             const bird_winograd *of, bird_packed *packed, int key,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    const size_t count = bird_winograd_weights_size(of);
    dnnl_memory_desc_t plain_md = NULL, u_md = NULL;
    void *u_data;
    float *bias_data;

    BIRD_TRY(bird_tensor_md(&plain_md, of->oc, of->ic, 3, 3, dnnl_oihw, err));
    BIRD_TRY(floats(&u_md, count, err));
    BIRD_TRY(bird_packed_get(packed, &u_data, &bias_data, NULL, key, u_md, plain_md, transform,
                             err));
    BIRD_TRY(bird_plan_vector(plan, u, (int)count, u_data, err));
    BIRD_TRY(bird_plan_vector(plan, bias, of->oc, bias_data, err));
cleanup:
    dnnl_memory_desc_destroy(u_md);
    dnnl_memory_desc_destroy(plain_md);
    return status;
}

bird_status bird_winograd_conv_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                         const bird_conv *conv, bool relu, bird_packed *packed,
                                         int key, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_winograd of = bird_winograd_of(conv, relu);
    bird_value u, bias;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(constants(plan, &u, &bias, &of, packed, key, err));
    BIRD_TRY(push(plan, dst, src, u, bias, &of, err));
cleanup:
    return status;
}

/* --- backward: weights transformed in every step ---------------------------------------- */

/* A convolution from oc to ic channels with every filter turned. */
bird_status bird_winograd_conv_backward_data(bird_plan *plan, bird_value *diff_src,
                                             bird_value diff_dst, bird_value weights,
                                             const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_conv back = *conv;
    back.ic = conv->oc;
    back.oc = conv->ic;
    const bird_winograd of = bird_winograd_of(&back, false);
    bird_value u;

    *diff_src = BIRD_NO_VALUE;
    BIRD_TRY(scratch(plan, &u, bird_winograd_weights_size(&of), err));
    const bird_value values[] = {u, weights};
    BIRD_TRY(bird_plan_push_custom(plan, weights_step, &of, sizeof of, 2, values, err));
    BIRD_TRY(push(plan, diff_src, diff_dst, u, BIRD_NO_VALUE, &of, err));
cleanup:
    return status;
}

bird_status bird_winograd_conv_backward_weights(bird_plan *plan, bird_value diff_weights,
                                                bird_value diff_dst, bird_value src,
                                                const bird_conv *conv, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_winograd of = bird_winograd_of(conv, false);
    bird_value v, m, u;

    BIRD_TRY(blocked(plan, &src, src, &of, of.ic, err));
    BIRD_TRY(blocked(plan, &diff_dst, diff_dst, &of, of.oc, err));
    BIRD_TRY(scratch(plan, &v, bird_winograd_scratch(&of, of.ic), err));
    BIRD_TRY(scratch(plan, &m, bird_winograd_scratch(&of, of.oc), err));
    BIRD_TRY(scratch(plan, &u, bird_winograd_weights_size(&of), err));
    const bird_value values[] = {diff_weights, src, diff_dst, v, m, u};
    BIRD_TRY(bird_plan_push_custom(plan, backward_weights_step, &of, sizeof of, 6, values, err));
cleanup:
    return status;
}
