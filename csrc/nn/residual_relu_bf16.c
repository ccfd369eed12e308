#include "nn/residual_relu_bf16.h"

#include <math.h>

#include "nn/bf16.h"
#include "nn/plan_build.h"

enum { LANES = 16, MAX_CHANNELS = 2048, PIECE = 8192 };

typedef struct matrix {
    size_t rows, channels;
    float eps;
} matrix;

static BIRD_BF16_CODE void end_rows(bird_bf16 *dst, const bird_bf16 *src,
                                    const bird_bf16 *shortcut, size_t rows, size_t channels,
                                    const float *mean, const float *scale, const float *shift) {
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < channels; c += LANES) {
            const size_t i = row * channels + c;
            const __m512 off = _mm512_sub_ps(bird_load_bf16(src + i), _mm512_loadu_ps(mean + c));
            const __m512 normal = _mm512_fmadd_ps(off, _mm512_loadu_ps(scale + c),
                                                  _mm512_loadu_ps(shift + c));
            const __m512 sum = _mm512_add_ps(normal, bird_load_bf16(shortcut + i));
            bird_store_bf16(dst + i, _mm512_max_ps(sum, _mm512_setzero_ps()));
        }
}

static void forward_step(const void *context, void *const *data, int n_threads) {
    const matrix m = *(const matrix *)context;
    const float *mean = data[3], *var = data[4], *given = data[5], *shift = data[6];
    const size_t band = PIECE / m.channels;
#pragma omp parallel num_threads(n_threads)
    {
        float scale[MAX_CHANNELS];
        for (size_t c = 0; c < m.channels; c++) scale[c] = given[c] / sqrtf(var[c] + m.eps);
#pragma omp for schedule(static)
        for (size_t row = 0; row < m.rows; row += band) {
            const size_t at = row * m.channels;
            end_rows((bird_bf16 *)data[0] + at, (const bird_bf16 *)data[1] + at,
                     (const bird_bf16 *)data[2] + at, m.rows - row < band ? m.rows - row : band,
                     m.channels, mean, scale, shift);
        }
    }
}

bird_status bird_residual_relu_forward_bf16(bird_plan *plan, size_t rows, size_t channels,
                                            float eps, const bird_value values[7],
                                            bird_error *err) {
    const matrix m = {.rows = rows, .channels = channels, .eps = eps};
    if (channels % LANES != 0 || channels > MAX_CHANNELS)
        return bird_fail(err, BIRD_SHAPE, "a residual block in bfloat16 needs a multiple of "
                         "%d channels, at most %d, got %zu", LANES, MAX_CHANNELS, channels);
    return bird_plan_push_custom(plan, forward_step, &m, sizeof m, 7, values, err);
}

typedef struct gradient {
    size_t count; /* a multiple of LANES */
    int n_values;
} gradient;

/* Compute `count` numbers of the gradient, in place in a. b may be NULL. */
static BIRD_BF16_CODE void gradient_piece(bird_bf16 *a, const bird_bf16 *dst, const bird_bf16 *b,
                                          size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        const __mmask16 open =
            _mm512_cmp_ps_mask(bird_load_bf16(dst + i), _mm512_setzero_ps(), _CMP_GT_OQ);
        __m512 sum = bird_load_bf16(a + i);
        if (b) sum = _mm512_add_ps(sum, bird_load_bf16(b + i));
        bird_store_bf16(a + i, _mm512_maskz_mov_ps(open, sum));
    }
}

static void backward_step(const void *context, void *const *data, int n_threads) {
    const gradient g = *(const gradient *)context;
    bird_bf16 *a = data[0];
    const bird_bf16 *dst = data[1], *b = g.n_values == 3 ? data[2] : NULL;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t at = 0; at < g.count; at += PIECE)
        gradient_piece(a + at, dst + at, b ? b + at : NULL,
                       g.count - at < PIECE ? g.count - at : PIECE);
}

bird_status bird_residual_relu_backward_bf16(bird_plan *plan, size_t count, int n_values,
                                             const bird_value *values, bird_error *err) {
    const gradient g = {.count = count, .n_values = n_values};
    return bird_plan_push_custom(plan, backward_step, &g, sizeof g, n_values, values, err);
}
