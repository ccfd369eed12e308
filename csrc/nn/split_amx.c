/* The functions of nn/split_shape.h, with AMX and AVX-512. */
#include "nn/split_shape.h"

#if SPLIT_COMPILED

#include <immintrin.h>
#include <stdint.h>

#define CODE \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")))
#define WORD CODE static inline __attribute__((always_inline))

/* The tile instructions read and write memory without the compiler knowing. */
#define FENCE() __asm__ volatile("" ::: "memory")

enum { LANES = 16 };

typedef struct tile_config {
    uint8_t palette, start_row, unused[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
} tile_config;

CODE void split_begin(split_state *before) {
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.bytes_per_row[i] = SPLIT_LINE;
        config.rows[i] = SPLIT_SIDE;
    }
    _tile_storeconfig(before->config);
    FENCE();
    _tile_loadconfig(&config);
    FENCE();
}

CODE void split_end(const split_state *before) {
    FENCE();
    _tile_loadconfig(before->config);
}

/* --- splitting ------------------------------------------------------------------------- */

typedef struct halves {
    __m512i high, low;
} halves;

WORD __m512 rest_of(__m512 numbers, __m256i high) {
    const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
    return _mm512_sub_ps(numbers, _mm512_castsi512_ps(wide));
}

/* Split 32 numbers. */
WORD halves split(const float *numbers) {
    const __m512 first = _mm512_loadu_ps(numbers), second = _mm512_loadu_ps(numbers + LANES);
    const __m512i high = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    const __m512 rest0 = rest_of(first, _mm512_castsi512_si256(high));
    const __m512 rest1 = rest_of(second, _mm512_extracti64x4_epi64(high, 1));
    return (halves){high, (__m512i)_mm512_cvtne2ps_pbh(rest1, rest0)};
}

CODE void split_filters(char *to, const float *plain, int ic, int side) {
    const size_t places = (size_t)(side * side);
    for (size_t c = 0; c < (size_t)ic; c += SPLIT_DEPTH)
        for (size_t place = 0; place < places; place++, to += 2 * SPLIT_TILE)
            for (size_t row = 0; row < SPLIT_SIDE; row++) { /* two channels of 16 filters */
                float numbers[SPLIT_DEPTH];
                for (size_t i = 0; i < SPLIT_DEPTH; i++) {
                    const size_t filter = i / 2, channel = c + 2 * row + i % 2;
                    numbers[i] = plain[(filter * (size_t)ic + channel) * places + place];
                }
                const halves both = split(numbers);
                _mm512_storeu_si512(to + row * SPLIT_LINE, both.high);
                _mm512_storeu_si512(to + SPLIT_TILE + row * SPLIT_LINE, both.low);
            }
}

/* Return pixel `at` of the panels in src, or NULL for the border. */
static const float *pixel_of(const bird_split *of, const float *src, int first, int at) {
    int image, y, x;
    if (of->side == 1) {
        const int row = first + at / of->ow;
        image = row / of->oh;
        y = row % of->oh * of->stride;
        x = at % of->ow * of->stride;
    } else {
        const int within = at % split_area(of);
        image = first / of->oh + at / split_area(of);
        y = within / split_width(of) - 1;
        x = within % split_width(of) - 1;
        if (y < 0 || x < 0 || y >= of->ih || x >= of->iw) return NULL;
    }
    return src + (((size_t)image * (size_t)of->ih + (size_t)y) * (size_t)of->iw + (size_t)x) *
                     (size_t)of->ic;
}

/* Write the lines of a pixel into all panels, which are `plane` bytes apart; NULL: zeros. */
WORD void split_pixel(char *line, size_t plane, const float *pixel, int ic) {
    for (int c = 0; c < ic; c += SPLIT_DEPTH, line += 2 * plane) {
        halves both = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        if (pixel) both = split(pixel + c);
        _mm512_store_si512(line, both.high);
        _mm512_store_si512(line + plane, both.low);
    }
}

CODE void split_panels(const bird_split *of, const split_data *data, int first, int rows,
                       int part) {
    const int lines = (int)split_lines(of), pixels = split_pixels(of, rows);
    const size_t plane = (size_t)lines * SPLIT_LINE;
    const int from = part * SPLIT_PART;
    const bool last = pixels - from <= SPLIT_PART;
    const int to = last ? lines : from + SPLIT_PART;
    char *line = data->panels + (size_t)from * SPLIT_LINE;

    for (int at = from; at < to; at++, line += SPLIT_LINE)
        split_pixel(line, plane, at < pixels ? pixel_of(of, data->src, first, at) : NULL, of->ic);
}

/* --- products -------------------------------------------------------------------------- */

/* Add the products of the lines in tiles 4 and 5 with the weights of 16 filters at `a` and at `b`
 * to the sums in tiles 0 to 3. */
WORD void add_products(const char *a, const char *b, const bool both) {
    _tile_loadd(6, a, SPLIT_LINE);
    _tile_loadd(7, b, SPLIT_LINE);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (both) {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

WORD void load_lines(const char *line, const bool both) {
    _tile_loadd(4, line, SPLIT_LINE);
    if (both) _tile_loadd(5, line + SPLIT_TILE, SPLIT_LINE);
}

/* Write the sums (32, 32) of 32 lines from `line` on, or of 16 unless `both`, with 32 filters. */
WORD void sum_up(const bird_split *of, float *sums, const char *line, const char *weights,
                 const bool both) {
    const size_t plane = split_lines(of) * SPLIT_LINE;
    const int width = split_width(of), places = of->side * of->side;
    const size_t filters = (size_t)(of->ic / SPLIT_DEPTH * places) * 2 * SPLIT_TILE;
    const size_t row = SPLIT_BLOCK * sizeof *sums;

    FENCE();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int c = 0; c < of->ic; c += SPLIT_DEPTH, line += 2 * plane)
        for (int place = 0; place < places; place++, weights += 2 * SPLIT_TILE) {
            const char *own = line + (size_t)(place / 3 * width + place % 3) * SPLIT_LINE;
            load_lines(own, both); /* high */
            add_products(weights, weights + filters, both);
            add_products(weights + SPLIT_TILE, weights + filters + SPLIT_TILE, both);
            load_lines(own + plane, both); /* low */
            add_products(weights, weights + filters, both);
        }
    _tile_stored(0, sums, row);
    _tile_stored(1, sums + SPLIT_SIDE, row);
    if (both) {
        _tile_stored(2, sums + SPLIT_SIDE * SPLIT_BLOCK, row);
        _tile_stored(3, sums + SPLIT_SIDE * SPLIT_BLOCK + SPLIT_SIDE, row);
    }
    FENCE();
}

/* Add bias and residual, apply the ReLU, and write 32 channels of a pixel. */
WORD void finish(const bird_split *of, float *to, const float *sums, const float *bias) {
    for (int i = 0; i < SPLIT_BLOCK; i += LANES) {
        __m512 numbers = _mm512_add_ps(_mm512_load_ps(sums + i), _mm512_loadu_ps(bias + i));
        if (of->residual) numbers = _mm512_add_ps(numbers, _mm512_loadu_ps(to + i));
        if (of->relu) numbers = _mm512_max_ps(_mm512_setzero_ps(), numbers); /* a NaN stays */
        _mm512_storeu_ps(to + i, numbers);
    }
}

CODE void split_multiply(const bird_split *of, const split_data *data, int first, int rows,
                         int block, int filters) {
    _Alignas(64) float sums[SPLIT_BLOCK * SPLIT_BLOCK];
    const int each = split_blocks_each(of, rows), width = split_width(of);
    const int image = block / each, start = block % each * SPLIT_BLOCK;
    const int left = split_span(of, rows) - start, n = left < SPLIT_BLOCK ? left : SPLIT_BLOCK;
    const size_t group = (size_t)(of->side * of->side * SPLIT_BLOCK) * (size_t)of->ic;
    const char *line = data->panels + (size_t)(image * split_area(of) + start) * SPLIT_LINE;
    const char *weights = (const char *)(data->weights + (size_t)filters * group);
    const float *bias = data->bias + filters * SPLIT_BLOCK;
    float *dst = data->dst + (size_t)(filters * SPLIT_BLOCK) +
                 (size_t)(first + image * of->oh) * (size_t)of->ow * (size_t)of->oc;
    float *pixels[SPLIT_BLOCK]; /* in dst; NULL: in the border */

    for (int i = 0, y = start / width, x = start % width; i < n; i++) {
        pixels[i] = x < of->ow ? dst + (size_t)(y * of->ow + x) * (size_t)of->oc : NULL;
        if (pixels[i]) { /* so that the lines arrive during the products */
            __builtin_prefetch(pixels[i], 1);
            __builtin_prefetch(pixels[i] + LANES, 1);
        }
        if (++x == width) {
            x = 0;
            y++;
        }
    }
    if (n > SPLIT_SIDE)
        sum_up(of, sums, line, weights, true);
    else
        sum_up(of, sums, line, weights, false);
    for (int i = 0; i < n; i++)
        if (pixels[i]) finish(of, pixels[i], sums + i * SPLIT_BLOCK, bias);
}

#endif
