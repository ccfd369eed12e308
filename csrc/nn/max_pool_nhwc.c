#include "nn/max_pool_nhwc.h"

#include <immintrin.h>

#include "nn/isa.h"
#include "nn/plan_build.h"

enum { BLOCK = 16 }; /* channels side by side in nChw16c */

/* The part of a window that lies inside an image's rows (or columns). */
typedef struct window {
    int begin, end;
} window;

static window window_at(int out, const bird_pool *pool, int size) {
    const int begin = out * pool->stride - pool->pad, end = begin + pool->kernel;
    return (window){begin < 0 ? 0 : begin, end > size ? size : end};
}

/* Compute dst (ow, c), one row of the output. */
__attribute__((target("avx512f"))) static void pool_row(float *dst, const float *image, int y,
                                                        const bird_pool *pool) {
    const window rows = window_at(y, pool, pool->ih);
    const size_t line = (size_t)pool->iw * BLOCK;
    for (int block = 0; block < pool->c / BLOCK; block++) {
        const float *plane = image + (size_t)block * (size_t)pool->ih * line;
        for (int x = 0; x < pool->ow; x++) {
            const window columns = window_at(x, pool, pool->iw);
            const float *first = plane + (size_t)rows.begin * line + (size_t)columns.begin * BLOCK;
            __m512 most = _mm512_loadu_ps(first);
            for (int h = rows.begin; h < rows.end; h++)
                for (int w = columns.begin; w < columns.end; w++)
                    most = _mm512_max_ps(
                        most, _mm512_loadu_ps(plane + (size_t)h * line + (size_t)w * BLOCK));
            _mm512_storeu_ps(dst + (size_t)x * (size_t)pool->c + (size_t)block * BLOCK, most);
        }
    }
}

/* data: src, dst. */
static void run(const void *context, void *const *data, int n_threads) {
    const bird_pool *pool = context;
    const float *src = data[0];
    float *dst = data[1];
    const size_t image = (size_t)pool->c * (size_t)pool->ih * (size_t)pool->iw;
    const size_t row = (size_t)pool->ow * (size_t)pool->c;

#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int at = 0; at < pool->n * pool->oh; at++)
        pool_row(dst + (size_t)at * row, src + (size_t)(at / pool->oh) * image, at % pool->oh,
                 pool);
}

bool bird_max_pool_nhwc_fits(const bird_plan *plan, bird_value src, const bird_pool *pool) {
    dnnl_memory_desc_t blocked = NULL;
    bool fits = false;
    bird_error ignored;

    if (bird_isa_get() != BIRD_ISA_AVX512 || pool->c % BLOCK != 0) return false;
    if (bird_tensor_md(&blocked, pool->n, pool->c, pool->ih, pool->iw, dnnl_nChw16c, &ignored) ==
        BIRD_OK)
        fits = dnnl_memory_desc_equal(blocked, bird_plan_md(plan, src));
    dnnl_memory_desc_destroy(blocked);
    return fits;
}

bird_status bird_max_pool_nhwc(bird_plan *plan, bird_value *dst, bird_value src,
                               const bird_pool *pool, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    bird_value made;

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_tensor_md(&md, pool->n, pool->c, pool->oh, pool->ow, dnnl_nhwc, err));
    BIRD_TRY(bird_plan_value(plan, &made, md, err));
    const bird_value values[] = {src, made};
    BIRD_TRY(bird_plan_push_custom(plan, run, pool, sizeof *pool, 2, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}
