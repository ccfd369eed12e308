/* Implementation notes.
 *
 * Channels lie last, so the tensor is a matrix of n h w rows. Each band of rows is read once, in
 * order: a few rows are summed in float32, one lane per channel, and then added in double.
 */
#include "nn/channel_moments_bf16.h"

#include "nn/bf16.h"
#include "nn/plan_build.h"

enum { LANES = 16, CHUNK = 16, SHIFT_ROWS = 16, BAND_NUMBERS = 32768, MAX_CHANNELS = 2048 };

typedef struct shape {
    size_t rows, c;
    size_t band; /* rows per band; independent of the thread count */
} shape;

static size_t bands_of(const shape *s) {
    return (s->rows + s->band - 1) / s->band;
}

/* Set the shift to the mean of a few rows: near enough that the variance does not cancel. */
static BIRD_BF16_CODE void find_shift(float *shift, const bird_bf16 *src, const shape *s) {
    const size_t few = s->rows < SHIFT_ROWS ? s->rows : SHIFT_ROWS;
    for (size_t c = 0; c < s->c; c += LANES) {
        __m512 sum = _mm512_setzero_ps();
        for (size_t row = 0; row < few; row++)
            sum = _mm512_add_ps(sum, bird_load_bf16(src + row * s->c + c));
        _mm512_storeu_ps(shift + c, _mm512_div_ps(sum, _mm512_set1_ps((float)few)));
    }
}

/* Add the differences from the shift, and their squares, of one to four rows. */
static BIRD_BF16_CODE void add_rows(float *sum, float *square, const bird_bf16 *src, size_t rows,
                                    const float *shift, size_t channels) {
    for (size_t c = 0; c < channels; c += LANES) {
        const __m512 off = _mm512_loadu_ps(shift + c);
        __m512 sums = _mm512_loadu_ps(sum + c), squares = _mm512_loadu_ps(square + c);
        for (size_t row = 0; row < rows; row++) {
            const __m512 d = _mm512_sub_ps(bird_load_bf16(src + row * channels + c), off);
            sums = _mm512_add_ps(sums, d);
            squares = _mm512_fmadd_ps(d, d, squares);
        }
        _mm512_storeu_ps(sum + c, sums);
        _mm512_storeu_ps(square + c, squares);
    }
}

/* Write the sums and the sums of squares of one band to `to` (2, c). */
static BIRD_BF16_CODE void sum_band(double *to, const bird_bf16 *src, size_t rows,
                                    const float *shift, size_t channels) {
    float sum[MAX_CHANNELS], square[MAX_CHANNELS];
    for (size_t c = 0; c < 2 * channels; c++) to[c] = 0;
    for (size_t at = 0; at < rows; at += CHUNK) {
        const size_t end = rows - at < CHUNK ? rows : at + CHUNK;
        for (size_t c = 0; c < channels; c++) sum[c] = square[c] = 0;
        for (size_t row = at; row < end; row += 4)
            add_rows(sum, square, src + row * channels, end - row < 4 ? end - row : 4, shift,
                     channels);
        for (size_t c = 0; c < channels; c++) {
            to[c] += (double)sum[c];
            to[channels + c] += (double)square[c];
        }
    }
}

/* data: src (rows, c), mean (c), var (c), partial (bands, 2, c) doubles, shift (c). */
static void run(const void *context, void *const *data, int n_threads) {
    const shape s = *(const shape *)context;
    const bird_bf16 *src = data[0];
    float *mean = data[1], *var = data[2], *shift = data[4];
    double *partial = data[3];
    const size_t bands = bands_of(&s);

    find_shift(shift, src, &s);
#pragma omp parallel num_threads(n_threads)
    {
#pragma omp for schedule(static)
        for (size_t band = 0; band < bands; band++) {
            const size_t first = band * s.band;
            const size_t rows = s.rows - first < s.band ? s.rows - first : s.band;
            sum_band(partial + band * 2 * s.c, src + first * s.c, rows, shift, s.c);
        }
#pragma omp for schedule(static)
        for (size_t c = 0; c < s.c; c++) {
            double sum = 0, square = 0;
            for (size_t band = 0; band < bands; band++) {
                sum += partial[band * 2 * s.c + c];
                square += partial[(band * 2 + 1) * s.c + c];
            }
            const double off = sum / (double)s.rows;
            const double spread = square / (double)s.rows - off * off;
            mean[c] = (float)((double)shift[c] + off);
            var[c] = (float)(spread < 0 ? 0 : spread);
        }
    }
}

bird_status bird_channel_moments_bf16(bird_plan *plan, bird_value mean, bird_value var,
                                      bird_value src, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_dims_t *dims = NULL;
    bird_value partial, shift;

    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, src), dnnl_query_dims, &dims));
    shape s = {.rows = (size_t)((*dims)[0] * (*dims)[2] * (*dims)[3]), .c = (size_t)(*dims)[1]};
    if (s.c % LANES != 0 || s.c > MAX_CHANNELS)
        BIRD_FAIL(BIRD_SHAPE, "batch norm in bfloat16 needs a multiple of %d channels, at most "
                              "%d, got %zu", LANES, MAX_CHANNELS, s.c);
    s.band = BAND_NUMBERS / s.c;
    BIRD_TRY(bird_plan_scratch(plan, &partial, bands_of(&s) * s.c * 2 * 2, err));
    BIRD_TRY(bird_plan_scratch(plan, &shift, s.c, err));
    const bird_value values[] = {src, mean, var, partial, shift};
    BIRD_TRY(bird_plan_push_custom(plan, run, &s, sizeof s, 5, values, err));
cleanup:
    return status;
}
