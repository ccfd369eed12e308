#include "nn/conv_weights_product.h"

#include <string.h>

#include "nn/bf16.h"
#include "nn/plan_build.h"

typedef struct columns {
    bird_conv conv;
    int oh, ow;
} columns;

/* Write the rows of `columns` for one row of output pixels. */
static void fill_row(bird_bf16 *to, const bird_bf16 *image, const columns *of, int y) {
    const bird_conv *c = &of->conv;
    const size_t ic = (size_t)c->ic;

    for (int x = 0; x < of->ow; x++)
        for (int ky = 0; ky < c->kernel; ky++)
            for (int kx = 0; kx < c->kernel; kx++, to += ic) {
                const int iy = y * c->stride + ky - c->pad, ix = x * c->stride + kx - c->pad;
                if (iy < 0 || ix < 0 || iy >= c->ih || ix >= c->iw)
                    memset(to, 0, ic * sizeof *to);
                else
                    memcpy(to, image + ((size_t)iy * (size_t)c->iw + (size_t)ix) * ic,
                           ic * sizeof *to);
            }
}

static void columns_step(const void *context, void *const *data, int n_threads) {
    const columns of = *(const columns *)context;
    const size_t image = (size_t)of.conv.ih * (size_t)of.conv.iw * (size_t)of.conv.ic;
    const size_t row = (size_t)(of.ow * of.conv.kernel * of.conv.kernel) * (size_t)of.conv.ic;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int at = 0; at < of.conv.n * of.oh; at++)
        fill_row((bird_bf16 *)data[0] + (size_t)at * row,
                 (const bird_bf16 *)data[1] + (size_t)(at / of.oh) * image, &of, at % of.oh);
}

/* Replace *src by its columns (rows, taps). */
static bird_status push_columns(bird_plan *plan, bird_value *src, const bird_conv *conv,
                                const dnnl_dims_t dims, bird_error *err) {
    bird_status status = BIRD_OK;
    const columns of = {.conv = *conv, .oh = bird_conv_out(conv, conv->ih),
                        .ow = bird_conv_out(conv, conv->iw)};
    dnnl_memory_desc_t md = NULL;
    bird_value filled;

    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, 2, dims, dnnl_bf16, dnnl_ab));
    BIRD_TRY(bird_plan_value(plan, &filled, md, err));
    const bird_value values[] = {filled, *src};
    BIRD_TRY(bird_plan_push_custom(plan, columns_step, &of, sizeof of, 2, values, err));
    *src = filled;
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

/* Append product (oc, taps) = diff_dst^T (oc, rows) * src (rows, taps). The values have the bytes
 * of these matrices; oneDNN takes the shapes from the primitive, not from the values. */
static bird_status push_product(bird_plan *plan, bird_value product, bird_value diff_dst,
                                bird_value src, dnnl_dim_t oc, dnnl_dim_t rows, dnnl_dim_t taps,
                                bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    const dnnl_dims_t a_dims = {oc, rows}, b_dims = {rows, taps}, c_dims = {oc, taps};
    dnnl_memory_desc_t a = NULL, b = NULL, c = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&a, 2, a_dims, dnnl_bf16, dnnl_ba));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&b, 2, b_dims, dnnl_bf16, dnnl_ab));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&c, 2, c_dims, dnnl_f32, dnnl_ab));
    BIRD_DNNL(dnnl_matmul_primitive_desc_create(&pd, engine->engine, a, b, NULL, c, attr));
    const bird_arg args[] = {
        {DNNL_ARG_SRC, diff_dst}, {DNNL_ARG_WEIGHTS, src}, {DNNL_ARG_DST, product}};
    BIRD_TRY(bird_plan_push(plan, pd, 3, args, err));
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(c);
    dnnl_memory_desc_destroy(b);
    dnnl_memory_desc_destroy(a);
    return status;
}

bird_status bird_conv_weights_product(bird_plan *plan, bird_value diff_weights,
                                      bird_value diff_dst, bird_value src, const bird_conv *conv,
                                      bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dim_t rows = (dnnl_dim_t)conv->n * bird_conv_out(conv, conv->ih) *
                            bird_conv_out(conv, conv->iw);
    const dnnl_dim_t taps = (dnnl_dim_t)conv->kernel * conv->kernel * conv->ic;
    const dnnl_dims_t columns_dims = {rows, taps};
    const dnnl_dims_t dims = {conv->oc, conv->ic, conv->kernel, conv->kernel};
    dnnl_memory_desc_t md = NULL;
    bird_value product = diff_weights;

    if (conv->kernel > 1 || conv->stride > 1)
        BIRD_TRY(push_columns(plan, &src, conv, columns_dims, err));
    if (conv->kernel > 1) {
        BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, 4, dims, dnnl_f32, dnnl_ohwi));
        BIRD_TRY(bird_plan_value(plan, &product, md, err));
    }
    BIRD_TRY(push_product(plan, product, diff_dst, src, conv->oc, rows, taps, err));
    if (product != diff_weights) BIRD_TRY(bird_plan_copy(plan, diff_weights, product, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}
