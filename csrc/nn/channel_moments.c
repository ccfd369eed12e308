/* Implementation notes.
 *
 * oneDNN's batch norm sums a whole channel in float32. That was by far the largest rounding error
 * of a training step: features of a ResNet-50 were off by 3e-6 (AVX-512) to 1e-5 (AVX2), but by
 * 6e-7 with these sums. Rounding decides which ReLUs flip, and so how far all gradients are from
 * the exact ones. oneDNN also reads the tensor twice; this code reads it once.
 *
 * The sums are of differences from a shift near the mean, so that the variance does not cancel.
 * CHUNK pixels are summed in float32, one lane per channel, and the chunks in double.
 */
#include "nn/channel_moments.h"

#include <string.h>

#include "nn/channel_moments_bf16.h"
#include "nn/conv_table.h"
#include "nn/plan_build.h"

enum { CHUNK = 64, SHIFT_PIXELS = 16, MAX_LANES = 16 };

typedef struct shape {
    size_t n, c, pixels;
    size_t lanes; /* channels side by side: layout (n, c / lanes, pixels, lanes) */
} shape;

/* Sum and sum of squares of one channel of one image, relative to the shift. */
typedef struct moments {
    double sum, square;
} moments;

/* Vectors of as many floats as channels lie side by side. If the processor has shorter vectors, the
 * compiler uses several. */
typedef float vec16 __attribute__((vector_size(64), may_alias));
typedef float vec8 __attribute__((vector_size(32), may_alias));

/* sum_chunk_NAME computes the sums, and the sums of squares, of `pixels` rows of `vec`. */
#define SUM_CHUNK(name, vec)                                                                     \
    static inline __attribute__((always_inline)) void sum_chunk_##name(                          \
        float *sum, float *square, const float *src, size_t pixels, const float *shift) {        \
        vec sums = {0}, squares = {0}, off;                                                      \
        memcpy(&off, shift, sizeof off);                                                         \
        for (size_t p = 0; p < pixels; p++) {                                                    \
            const vec d = ((const vec *)src)[p] - off;                                           \
            sums += d;                                                                           \
            squares += d * d;                                                                    \
        }                                                                                        \
        memcpy(sum, &sums, sizeof sums);                                                         \
        memcpy(square, &squares, sizeof squares);                                                \
    }
SUM_CHUNK(16, vec16)
SUM_CHUNK(8, vec8)
SUM_CHUNK(1, float)

/* Set the shift to the mean of a few pixels of the first image. */
static void find_shift(float *shift, const float *src, size_t pixels, size_t lanes) {
    const size_t few = pixels < SHIFT_PIXELS ? pixels : SHIFT_PIXELS;
    for (size_t l = 0; l < lanes; l++) {
        shift[l] = 0;
        for (size_t p = 0; p < few; p++) shift[l] += src[p * lanes + l];
        shift[l] /= (float)few;
    }
}

/* Sum `lanes` channels of one image. */
static inline __attribute__((always_inline)) void sum_block(moments *to, const float *src,
                                                            const float *shift, size_t pixels,
                                                            size_t lanes) {
    for (size_t l = 0; l < lanes; l++) to[l] = (moments){0, 0};
    for (size_t at = 0; at < pixels; at += CHUNK) {
        const size_t count = pixels - at < CHUNK ? pixels - at : CHUNK;
        const float *chunk = src + at * lanes;
        float sum[MAX_LANES], square[MAX_LANES];
        if (lanes == 16)
            sum_chunk_16(sum, square, chunk, count, shift);
        else if (lanes == 8)
            sum_chunk_8(sum, square, chunk, count, shift);
        else
            sum_chunk_1(sum, square, chunk, count, shift);
        for (size_t l = 0; l < lanes; l++) {
            to[l].sum += (double)sum[l];
            to[l].square += (double)square[l];
        }
    }
}

/* One variant per instruction set, which also determines the layout. */
static __attribute__((target("avx512f"))) void sum_block_16(moments *to, const float *src,
                                                            const float *shift, size_t pixels) {
    sum_block(to, src, shift, pixels, 16);
}

static __attribute__((target("avx2"))) void sum_block_8(moments *to, const float *src,
                                                        const float *shift, size_t pixels) {
    sum_block(to, src, shift, pixels, 8);
}

static void sum_block_1(moments *to, const float *src, const float *shift, size_t pixels) {
    sum_block(to, src, shift, pixels, 1);
}

/* data: src, mean (c), var (c), scratch (n, c) moments. */
static void run(const void *context, void *const *data, int n_threads) {
    const shape s = *(const shape *)context;
    const float *src = data[0];
    float *mean = data[1], *var = data[2];
    moments *partial = data[3];
    const size_t blocks = s.c / s.lanes, block = s.pixels * s.lanes;
    const double count = (double)s.n * (double)s.pixels;
    void (*const sum)(moments *, const float *, const float *, size_t) =
        s.lanes == 16 ? sum_block_16 : s.lanes == 8 ? sum_block_8 : sum_block_1;

#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t item = 0; item < s.n * blocks; item++) {
        float shift[MAX_LANES];
        find_shift(shift, src + item % blocks * block, s.pixels, s.lanes);
        sum(partial + item * s.lanes, src + item * block, shift, s.pixels);
    }
    for (size_t c = 0; c < s.c; c += s.lanes) {
        float shift[MAX_LANES];
        find_shift(shift, src + c * s.pixels, s.pixels, s.lanes);
        for (size_t l = 0; l < s.lanes; l++) {
            double total = 0, square = 0;
            for (size_t n = 0; n < s.n; n++) {
                total += partial[n * s.c + c + l].sum;
                square += partial[n * s.c + c + l].square;
            }
            const double off = total / count, spread = square / count - off * off;
            mean[c + l] = (float)((double)shift[l] + off);
            var[c + l] = (float)(spread < 0 ? 0 : spread);
        }
    }
}

bird_status bird_channel_moments(bird_plan *plan, bird_value mean, bird_value var, bird_value src,
                                 bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t layout = NULL, scratch_md = NULL;
    dnnl_dims_t *dims = NULL;
    bird_value scratch;

    if (bird_plan_type(plan, src) == dnnl_bf16)
        return bird_channel_moments_bf16(plan, mean, var, src, err);
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, src), dnnl_query_dims, &dims));
    const dnnl_dim_t n = (*dims)[0], c = (*dims)[1];
    const dnnl_format_tag_t tag = bird_training_layout(bird_isa_get(), dnnl_f32, c);
    const shape s = {
        .n = (size_t)n,
        .c = (size_t)c,
        .pixels = (size_t)((*dims)[2] * (*dims)[3]),
        .lanes = tag == dnnl_nChw16c ? 16 : tag == dnnl_nChw8c ? 8 : 1,
    };
    if (s.c % s.lanes != 0)
        BIRD_FAIL(BIRD_SHAPE, "batch norm needs a multiple of %zu channels, got %zu", s.lanes,
                  s.c);
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&layout, 4, *dims, dnnl_f32, tag));
    BIRD_TRY(bird_plan_reordered(plan, &src, src, layout, err));
    const dnnl_dims_t scratch_dims = {n * c * (dnnl_dim_t)(sizeof(moments) / sizeof(float))};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&scratch_md, 1, scratch_dims, dnnl_f32, dnnl_x));
    BIRD_TRY(bird_plan_value(plan, &scratch, scratch_md, err));
    const bird_value values[] = {src, mean, var, scratch};
    BIRD_TRY(bird_plan_push_custom(plan, run, &s, sizeof s, 4, values, err));
cleanup:
    dnnl_memory_desc_destroy(scratch_md);
    dnnl_memory_desc_destroy(layout);
    return status;
}
