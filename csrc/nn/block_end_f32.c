#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "nn/block_end_steps.h"
#include "nn/conv_table.h"
#include "nn/plan_build.h"

enum { MAX_LANES = 16, PIECE = 4096 };

/* Vectors of as many floats as channels lie side by side (layout (n, blocks, pixels, lanes));
 * the layout goes with the instruction set. */
typedef float vec16 __attribute__((vector_size(64), may_alias));
typedef int mask16 __attribute__((vector_size(64), may_alias));
typedef float vec8 __attribute__((vector_size(32), may_alias));
typedef int mask8 __attribute__((vector_size(32), may_alias));

/* The steps' inner loops. Bits are masked, for gcc makes a branch of a choice between numbers. */
#define INNER_LOOPS(lanes, vec, mask, code)                                                      \
    static code void end_sheet_##lanes(float *dst, const float *src, const float *shortcut,      \
                                       size_t pixels, const float *mean, const float *scale,     \
                                       const float *shift) {                                     \
        vec means, scales, shifts;                                                               \
        memcpy(&means, mean, sizeof means);                                                      \
        memcpy(&scales, scale, sizeof scales);                                                   \
        memcpy(&shifts, shift, sizeof shifts);                                                   \
        for (size_t p = 0; p < pixels; p++) {                                                    \
            const vec sum = (((const vec *)src)[p] - means) * scales + shifts +                  \
                            ((const vec *)shortcut)[p];                                          \
            ((vec *)dst)[p] = (vec)((mask)sum & (mask)(sum > 0));                                \
        }                                                                                        \
    }                                                                                            \
    static code void gradient_##lanes(float *a, const float *dst, const float *b,                \
                                      size_t count) {                                            \
        for (size_t i = 0; i < count / (lanes); i++) {                                           \
            vec sum = ((vec *)a)[i];                                                             \
            if (b) sum += ((const vec *)b)[i];                                                   \
            ((vec *)a)[i] = (vec)((mask)sum & (mask)(((const vec *)dst)[i] > 0));                \
        }                                                                                        \
    }
INNER_LOOPS(16, vec16, mask16, __attribute__((target("avx512f"))))
INNER_LOOPS(8, vec8, mask8, __attribute__((target("avx2"))))

/* Plain order, on processors below AVX2. */
static void end_sheet_1(float *dst, const float *src, const float *shortcut, size_t pixels,
                        const float *mean, const float *scale, const float *shift) {
    for (size_t p = 0; p < pixels; p++) {
        const float sum = (src[p] - mean[0]) * scale[0] + shift[0] + shortcut[p];
        dst[p] = sum > 0 ? sum : 0;
    }
}

static void gradient_1(float *a, const float *dst, const float *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float sum = b ? a[i] + b[i] : a[i];
        a[i] = dst[i] > 0 ? sum : 0;
    }
}

typedef struct sheets {
    size_t n, blocks, pixels, lanes;
    float eps;
} sheets;

static size_t lanes_of(size_t channels) {
    const dnnl_format_tag_t tag =
        bird_training_layout(bird_isa_get(), dnnl_f32, (dnnl_dim_t)channels);
    return tag == dnnl_nChw16c ? 16 : tag == dnnl_nChw8c ? 8 : 1;
}

static void forward_step(const void *context, void *const *data, int n_threads) {
    const sheets s = *(const sheets *)context;
    void (*const end)(float *, const float *, const float *, size_t, const float *,
                      const float *, const float *) =
        s.lanes == 16 ? end_sheet_16 : s.lanes == 8 ? end_sheet_8 : end_sheet_1;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t sheet = 0; sheet < s.n * s.blocks; sheet++) {
        const size_t at = sheet * s.pixels * s.lanes, c = sheet % s.blocks * s.lanes;
        const float *var = (const float *)data[4] + c, *given = (const float *)data[5] + c;
        float scale[MAX_LANES];
        for (size_t l = 0; l < s.lanes; l++) scale[l] = given[l] / sqrtf(var[l] + s.eps);
        end((float *)data[0] + at, (const float *)data[1] + at, (const float *)data[2] + at,
            s.pixels, (const float *)data[3] + c, scale, (const float *)data[6] + c);
    }
}

bird_status bird_block_end_forward_f32(bird_plan *plan, size_t n, size_t channels, size_t pixels,
                                       float eps, const bird_value values[7], bird_error *err) {
    const size_t lanes = lanes_of(channels);
    const sheets s = {.n = n, .blocks = channels / lanes, .pixels = pixels, .lanes = lanes,
                      .eps = eps};
    if (channels % lanes != 0)
        return bird_fail(err, BIRD_SHAPE, "a block's end takes multiples of %zu channels here, "
                         "got %zu", lanes, channels);
    return bird_plan_push_own(plan, forward_step, &s, sizeof s, 7, values, err);
}

typedef struct gradient {
    size_t count; /* a multiple of lanes */
    size_t lanes;
    bool two; /* there is a b */
} gradient;

static void backward_step(const void *context, void *const *data, int n_threads) {
    const gradient g = *(const gradient *)context;
    float *a = data[0];
    const float *dst = data[1], *b = g.two ? data[2] : NULL;
    void (*const gate)(float *, const float *, const float *, size_t) =
        g.lanes == 16 ? gradient_16 : g.lanes == 8 ? gradient_8 : gradient_1;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t at = 0; at < g.count; at += PIECE)
        gate(a + at, dst + at, b ? b + at : NULL, g.count - at < PIECE ? g.count - at : PIECE);
}

bird_status bird_block_end_backward_f32(bird_plan *plan, size_t count, size_t channels,
                                        int n_values, const bird_value *values,
                                        bird_error *err) {
    const gradient g = {.count = count, .lanes = lanes_of(channels), .two = n_values == 3};
    return bird_plan_push_own(plan, backward_step, &g, sizeof g, n_values, values, err);
}
