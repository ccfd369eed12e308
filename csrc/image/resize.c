#include "image/resize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/alloc.h"

/* Weights are 22-bit fractions: 32 bits minus 8 for a sample and 2 for the sign and the overshoot
 * of the bicubic filter. */
enum { PRECISION_BITS = 32 - 8 - 2 };

/* The length of a run of column weights is a multiple of this: 4 pixels are 12 samples, one and a
 * half vectors. */
enum { STEP = 4 };

/* For each output position: the first source position, their number, and their weights. */
typedef struct taps {
    int32_t *weights; /* owned: (n, capacity) */
    int32_t *first;   /* owned: (n) */
    int32_t *count;   /* owned: (n) */
    size_t capacity;
} taps;

static double bilinear(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys 1981, a = -0.5. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void taps_deinit(taps *t) {
    bird_free(t->weights);
    bird_free(t->first);
    bird_free(t->count);
}

static int32_t fixed(double weight) {
    return (int32_t)(weight * (1 << PRECISION_BITS) + (weight < 0 ? -0.5 : 0.5));
}

/* Compute the weights for output positions first .. first+n-1 of a resize from src_size to
 * dst_size. If it shrinks, the filter is widened by the scale (antialiasing). The order of
 * operations is Pillow's, because another one rounds differently. `row` is scratch for the weights
 * of one position. */
static void fill_taps(taps *t, double *row, size_t src_size, size_t dst_size, size_t first,
                      size_t n, double (*kernel)(double), double support) {
    double scale = (double)src_size / (double)dst_size;
    double stretch = scale < 1.0 ? 1.0 : scale;
    support *= stretch;
    for (size_t i = 0; i < n; i++) {
        double center = ((double)(first + i) + 0.5) * scale, sum = 0.0;
        double shrink = 1.0 / stretch;
        int low = (int)(center - support + 0.5), high = (int)(center + support + 0.5);
        if (low < 0) low = 0;
        if (high > (int)src_size) high = (int)src_size;
        for (int x = low; x < high; x++) {
            row[x - low] = kernel((x - center + 0.5) * shrink);
            sum += row[x - low];
        }
        for (int x = 0; x < high - low; x++) {
            if (sum != 0.0) row[x] /= sum;
            t->weights[i * t->capacity + (size_t)x] = fixed(row[x]);
        }
        t->first[i] = low;
        t->count[i] = high - low;
    }
}

static bird_status taps_init(taps *t, size_t src_size, size_t dst_size, size_t first, size_t n,
                             bird_filter filter, bird_error *err) {
    double support = filter == BIRD_BICUBIC ? 2.0 : 1.0, reach = support;
    double *row;
    if (src_size > dst_size) reach = support * ((double)src_size / (double)dst_size);
    *t = (taps){.capacity = (size_t)ceil(reach) * 2 + 1};
    t->weights = bird_calloc(n * t->capacity, sizeof *t->weights);
    t->first = bird_alloc(n * sizeof *t->first);
    t->count = bird_alloc(n * sizeof *t->count);
    row = bird_alloc(t->capacity * sizeof *row);
    if (!t->weights || !t->first || !t->count || !row) {
        bird_free(row);
        return bird_fail(err, BIRD_NOMEM, "out of memory for a resize to %zu", dst_size);
    }
    fill_taps(t, row, src_size, dst_size, first, n,
              filter == BIRD_BICUBIC ? bicubic : bilinear, support);
    bird_free(row);
    return BIRD_OK;
}

static inline uint8_t to_sample(int32_t sum) {
    sum = (sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Write one row; each output pixel is the weighted sum of a run of source pixels. `wide` contains
 * each weight three times, for the three samples of a pixel, in runs of `length` pixels, a multiple
 * of STEP. Sample s of a step is added to lane s, whose channel is s % 3. */
static void resize_row_plain(uint8_t *dst, const uint8_t *src, const int32_t *first,
                             const int32_t *wide, size_t length, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = src + 3 * (size_t)first[i];
        const int32_t *weights = wide + 3 * i * length;
        int32_t lanes[3 * STEP] = {0}, sum[3] = {0, 0, 0};
        for (size_t x = 0; x < 3 * length; x += 3 * STEP)
            for (int k = 0; k < 3 * STEP; k++) lanes[k] += from[x + k] * weights[x + k];
        for (int k = 0; k < 3 * STEP; k++) sum[k % 3] += lanes[k];
        for (int c = 0; c < 3; c++) dst[3 * i + (size_t)c] = to_sample(sum[c]);
    }
}

/* The same for a source that is narrower than one step. */
static void resize_narrow_row(uint8_t *dst, const uint8_t *src, const taps *t, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = src + 3 * (size_t)t->first[i];
        int32_t sum[3] = {0, 0, 0};
        for (int x = 0; x < t->count[i]; x++)
            for (int c = 0; c < 3; c++)
                sum[c] += from[3 * x + c] * t->weights[i * t->capacity + (size_t)x];
        for (int c = 0; c < 3; c++) dst[3 * i + (size_t)c] = to_sample(sum[c]);
    }
}

/* Write one output row as the weighted sum of `count` rows of `size` samples, `stride` apart.
 * `sums` (size) is scratch. */
static inline __attribute__((always_inline)) void mix_rows(uint8_t *restrict dst,
                                                           const uint8_t *restrict src,
                                                           size_t stride, size_t size,
                                                           const int32_t *weights, int count,
                                                           int32_t *restrict sums) {
    memset(sums, 0, size * sizeof *sums);
    for (int k = 0; k < count; k++) {
        const uint8_t *restrict row = src + (size_t)k * stride;
        int32_t weight = weights[k];
        for (size_t x = 0; x < size; x++) sums[x] += row[x] * weight;
    }
    for (size_t x = 0; x < size; x++) dst[x] = to_sample(sums[x]);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

/* Multiply 8 neighbouring samples by 8 weights. */
AVX2 static inline __m256i product(const uint8_t *samples, const int32_t *weights) {
    __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)samples));
    return _mm256_mullo_epi32(wide, _mm256_loadu_si256((const __m256i *)weights));
}

/* Multiply 4 samples by 4 weights; the other four lanes are zero. */
AVX2 static inline __m256i half_product(const uint8_t *samples, const int32_t *weights) {
    int32_t four;
    memcpy(&four, samples, sizeof four);
    __m128i wide = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
    return _mm256_zextsi128_si256(
        _mm_mullo_epi32(wide, _mm_loadu_si128((const __m128i *)weights)));
}

/* Return red, green and blue, as bytes, from 24 lanes of the samples 0 .. 23. By quarters, the
 * lanes are RGBR GBRG BRGB RGBR GBRG BRGB; in the sum of the halves, four pixels lie in a row. */
AVX2 static inline uint32_t gather_pixel(__m256i a, __m256i b, __m256i c) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(b, 1));
    __m128i y = _mm_add_epi32(_mm256_extracti128_si256(a, 1), _mm256_castsi256_si128(c));
    __m128i z = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(c, 1));
    __m128i sum = _mm_add_epi32(x, _mm_alignr_epi8(y, x, 12));
    sum = _mm_add_epi32(sum, _mm_alignr_epi8(z, y, 8));
    sum = _mm_add_epi32(sum, _mm_srli_si128(z, 4));
    sum = _mm_add_epi32(sum, _mm_set1_epi32(1 << (PRECISION_BITS - 1)));
    sum = _mm_srai_epi32(sum, PRECISION_BITS);
    sum = _mm_packus_epi32(sum, sum); /* both packings clamp */
    return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
}

/* Do two steps at a time. A last single step fills the first vector and half of the second. */
AVX2 static void resize_row_avx2(uint8_t *dst, const uint8_t *src, const int32_t *first,
                                 const int32_t *wide, size_t length, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = src + 3 * (size_t)first[i];
        const int32_t *weights = wide + 3 * i * length;
        __m256i a = _mm256_setzero_si256(), b = a, c = a;
        size_t x = 0;
        uint32_t pixel;
        for (; x + 6 * STEP <= 3 * length; x += 6 * STEP) {
            a = _mm256_add_epi32(a, product(from + x, weights + x));
            b = _mm256_add_epi32(b, product(from + x + 8, weights + x + 8));
            c = _mm256_add_epi32(c, product(from + x + 16, weights + x + 16));
        }
        if (x < 3 * length) {
            a = _mm256_add_epi32(a, product(from + x, weights + x));
            b = _mm256_add_epi32(b, half_product(from + x + 8, weights + x + 8));
        }
        pixel = gather_pixel(a, b, c);
        memcpy(dst + 3 * i, &pixel, 3);
    }
}

AVX2 static void mix_rows_avx2(uint8_t *dst, const uint8_t *src, size_t stride, size_t size,
                               const int32_t *weights, int count, int32_t *sums) {
    mix_rows(dst, src, stride, size, weights, count, sums);
}
#endif

static void mix_rows_plain(uint8_t *dst, const uint8_t *src, size_t stride, size_t size,
                           const int32_t *weights, int count, int32_t *sums) {
    mix_rows(dst, src, stride, size, weights, count, sums);
}

typedef struct kernels {
    void (*row)(uint8_t *dst, const uint8_t *src, const int32_t *first, const int32_t *wide,
                size_t length, size_t n);
    void (*rows)(uint8_t *dst, const uint8_t *src, size_t stride, size_t size,
                 const int32_t *weights, int count, int32_t *sums);
} kernels;

/* The kernels use only integers, so both give the same bits. */
static kernels choose_kernels(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return (kernels){resize_row_avx2, mix_rows_avx2};
#endif
    return (kernels){resize_row_plain, mix_rows_plain};
}

/* One direction of a resize: the source span that the window touches, and the taps into it. */
typedef struct axis {
    bool needed;      /* false: the size does not change, so there are no taps */
    size_t low, span; /* source positions low .. low+span-1 */
    taps t;           /* positions counted from `low` */
} axis;

static bird_status axis_init(axis *a, size_t src_size, size_t dst_size, size_t first, size_t n,
                             bird_filter filter, bird_error *err) {
    bird_status status;
    *a = (axis){.needed = src_size != dst_size, .low = first, .span = n};
    if (!a->needed) return BIRD_OK;
    status = taps_init(&a->t, src_size, dst_size, first, n, filter, err);
    if (status != BIRD_OK) return status;
    a->low = (size_t)a->t.first[0];
    a->span = (size_t)(a->t.first[n - 1] + a->t.count[n - 1]) - a->low;
    for (size_t i = 0; i < n; i++) a->t.first[i] -= (int32_t)a->low;
    return BIRD_OK;
}

/* Return the largest number of taps of n positions, rounded up to whole steps. */
static size_t longest_run(const taps *t, size_t n) {
    int32_t longest = 0;
    for (size_t i = 0; i < n; i++)
        if (t->count[i] > longest) longest = t->count[i];
    return ((size_t)longest + STEP - 1) / STEP * STEP;
}

/* Rearrange the taps of an axis for resize_row: runs of equal length that begin at `first` (n) and
 * stay inside the span; added taps have weight 0. The caller frees both arrays. */
static bird_status spread_taps(int32_t **first, int32_t **wide, const axis *x, size_t length,
                               size_t n, bird_error *err) {
    const taps *t = &x->t;
    *first = bird_alloc(n * sizeof **first);
    *wide = bird_calloc(n * length, 3 * sizeof **wide);
    if (!*first || !*wide) return bird_fail(err, BIRD_NOMEM, "out of memory resizing an image");
    for (size_t i = 0; i < n; i++) {
        int32_t latest = (int32_t)(x->span - length);
        int32_t begin = t->first[i] < latest ? t->first[i] : latest;
        int32_t *run = *wide + 3 * (i * length + (size_t)(t->first[i] - begin));
        for (int k = 0; k < 3 * t->count[i]; k++) run[k] = t->weights[i * t->capacity + k / 3];
        (*first)[i] = begin;
    }
    return BIRD_OK;
}

/* Write dst (rows, n, 3) from rows of src that are `stride` bytes apart. */
static bird_status resize_columns(uint8_t *dst, const uint8_t *src, size_t stride, size_t rows,
                                  const axis *x, size_t n, bird_error *err) {
    bird_status status = BIRD_OK;
    kernels kernel = choose_kernels();
    int32_t *first = NULL, *wide = NULL;
    size_t length = x->needed ? longest_run(&x->t, n) : 0;
    bool whole_steps = x->needed && length <= x->span;
    if (whole_steps) BIRD_TRY(spread_taps(&first, &wide, x, length, n, err));
    for (size_t y = 0; y < rows; y++) {
        uint8_t *to = dst + y * n * 3;
        const uint8_t *from = src + y * stride;
        if (whole_steps)
            kernel.row(to, from, first, wide, length, n);
        else if (x->needed)
            resize_narrow_row(to, from, &x->t, n);
        else
            memcpy(to, from, n * 3);
    }
cleanup:
    bird_free(first);
    bird_free(wide);
    return status;
}

/* Write dst (n, columns, 3) from src, whose rows are `stride` bytes apart. */
static bird_status resize_rows(uint8_t *dst, const uint8_t *src, size_t stride, size_t columns,
                               const axis *y, size_t n, bird_error *err) {
    kernels kernel = choose_kernels();
    size_t size = columns * 3;
    int32_t *sums = bird_alloc(size * sizeof *sums);
    if (!sums) return bird_fail(err, BIRD_NOMEM, "out of memory resizing an image");
    for (size_t i = 0; i < n; i++)
        kernel.rows(dst + i * size, src + (size_t)y->t.first[i] * stride, stride, size,
                    y->t.weights + i * y->t.capacity, y->t.count[i], sums);
    bird_free(sums);
    return BIRD_OK;
}

/* Each pass rounds to 8 bits, so their order matters for the last bit. Pillow up to 12 always
 * starts with the columns; Pillow 13 starts with the rows if the height loses more than twice
 * as many pixels as the width (found by testing sizes). This follows Pillow 13. */
static bool rows_first(size_t src_height, size_t src_width, size_t height, size_t width) {
    int64_t less_height = (int64_t)src_height - (int64_t)height;
    int64_t less_width = (int64_t)src_width - (int64_t)width;
    return less_height > 0 && less_height > 2 * less_width;
}

bird_status bird_resize(uint8_t *dst, const uint8_t *src, size_t src_height, size_t src_width,
                        size_t height, size_t width, bird_window window, bird_filter filter,
                        bird_error *err) {
    bird_status status = BIRD_OK;
    axis x = {0}, y = {0};
    uint8_t *half = NULL;
    size_t stride = src_width * 3;
    bool rows_before = rows_first(src_height, src_width, height, width);

    BIRD_TRY(axis_init(&x, src_width, width, window.x, window.width, filter, err));
    BIRD_TRY(axis_init(&y, src_height, height, window.y, window.height, filter, err));
    src += (y.low * src_width + x.low) * 3;
    if (!y.needed) {
        status = resize_columns(dst, src, stride, window.height, &x, window.width, err);
        goto cleanup;
    }
    if (!x.needed) {
        status = resize_rows(dst, src, stride, window.width, &y, window.height, err);
        goto cleanup;
    }
    half = bird_alloc(3 * (rows_before ? window.height * x.span : y.span * window.width));
    if (!half) BIRD_FAIL(BIRD_NOMEM, "out of memory resizing an image");
    if (rows_before) {
        BIRD_TRY(resize_rows(half, src, stride, x.span, &y, window.height, err));
        BIRD_TRY(
            resize_columns(dst, half, x.span * 3, window.height, &x, window.width, err));
    } else {
        BIRD_TRY(resize_columns(half, src, stride, y.span, &x, window.width, err));
        BIRD_TRY(resize_rows(dst, half, window.width * 3, window.width, &y, window.height, err));
    }
cleanup:
    taps_deinit(&x.t);
    taps_deinit(&y.t);
    bird_free(half);
    return status;
}
