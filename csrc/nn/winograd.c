#include "nn/winograd.h"

#include <immintrin.h>

enum {
    BLOCK = 8,           /* channels side by side in nChw8c: one vector */
    TILE = 4,            /* pixels read per side of a tile */
    STEP = 2,            /* pixels written per side of a tile */
    PLACES = TILE * TILE,
    PANEL = 2 * BLOCK,   /* output channels in the inner loop of a product */
    ROWS = 6,            /* tiles in that loop: 12 sums fill AVX2's registers */
    CHUNK = 196,         /* tiles processed together: their matrices stay in the caches */
    QUARTER = 4,         /* input channels in the inner loop of a gradient: 8 sums */
    /* Floats between the matrices of two places, which otherwise map to the same cache sets. */
    GAP = 16
};

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

static int n_tiles(const bird_winograd *of) {
    return of->n * of->tiles_hw;
}

/* Return how many tiles, from `first` on, are processed together. */
static int chunk_from(const bird_winograd *of, int first) {
    const int left = n_tiles(of) - first;
    return left < of->chunk ? left : of->chunk;
}

bird_winograd bird_winograd_of(const bird_conv *conv, bool relu) {
    const int tiles_h = (conv->ih + 1) / STEP, tiles_w = (conv->iw + 1) / STEP;
    bird_winograd of = {.n = conv->n, .ic = conv->ic, .oc = conv->oc, .h = conv->ih,
                        .w = conv->iw, .tiles_w = tiles_w, .tiles_hw = tiles_h * tiles_w,
                        .chunk = CHUNK, .relu = relu};
    of.chunk = chunk_from(&of, 0);
    return of;
}

/* Floats from the matrix (chunk, channels) of one place to that of the next. */
static size_t stride_of(const bird_winograd *of, int channels) {
    return (size_t)of->chunk * (size_t)channels + GAP;
}

size_t bird_winograd_scratch(const bird_winograd *of, int channels) {
    return PLACES * stride_of(of, channels);
}

size_t bird_winograd_weights_size(const bird_winograd *of) {
    return PLACES * (size_t)of->ic * (size_t)of->oc;
}

/* The position of a tile: its image and its upper left output pixel. */
typedef struct position {
    size_t image;
    int y, x;
} position;

static position position_of(const bird_winograd *of, int tile) {
    const int within = tile % of->tiles_hw;
    return (position){(size_t)(tile / of->tiles_hw), within / of->tiles_w * STEP,
                      within % of->tiles_w * STEP};
}

/* Floats that BLOCK channels of one image take. */
static size_t plane_of(const bird_winograd *of) {
    return (size_t)(of->h * of->w) * BLOCK;
}

/* Return the offset of a tile's first pixel in an output (n, oc, h, w), in floats. */
static size_t pixel_of(const bird_winograd *of, position at) {
    return at.image * (size_t)(of->oc / BLOCK) * plane_of(of) +
           (size_t)(at.y * of->w + at.x) * BLOCK;
}

/* Write v = B' d B of 4x4 pixels. The places of v are `stride` floats apart. */
TARGET INLINE void transform_in(float *v, size_t stride, __m256 d[TILE][TILE]) {
    __m256 rows[TILE][TILE];
#pragma GCC unroll 4
    for (int x = 0; x < TILE; x++) {
        rows[0][x] = _mm256_sub_ps(d[0][x], d[2][x]);
        rows[1][x] = _mm256_add_ps(d[1][x], d[2][x]);
        rows[2][x] = _mm256_sub_ps(d[2][x], d[1][x]);
        rows[3][x] = _mm256_sub_ps(d[1][x], d[3][x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < TILE; y++) {
        float *to = v + (size_t)(y * TILE) * stride;
        _mm256_storeu_ps(to, _mm256_sub_ps(rows[y][0], rows[y][2]));
        _mm256_storeu_ps(to + stride, _mm256_add_ps(rows[y][1], rows[y][2]));
        _mm256_storeu_ps(to + 2 * stride, _mm256_sub_ps(rows[y][2], rows[y][1]));
        _mm256_storeu_ps(to + 3 * stride, _mm256_sub_ps(rows[y][1], rows[y][3]));
    }
}

/* Write v = all channels of one tile of src (n, ic, h, w), transformed. Blocks of channels are
 * `block` floats apart. Pixels outside the image are 0. */
TARGET static void tile_in(float *v, size_t block, const float *src, const bird_winograd *of,
                           int tile) {
    const size_t plane = plane_of(of), stride = stride_of(of, of->ic);
    const position at = position_of(of, tile);
    const int top = at.y - 1, left = at.x - 1;
    const bool inside =
        top >= 0 && left >= 0 && top + TILE <= of->h && left + TILE <= of->w;

    src += at.image * (size_t)(of->ic / BLOCK) * plane;
    for (int c = 0; c < of->ic; c += BLOCK, src += plane, v += block) {
        __m256 d[TILE][TILE];
#pragma GCC unroll 4
        for (int y = 0; y < TILE; y++)
#pragma GCC unroll 4
            for (int x = 0; x < TILE; x++) {
                const int row = top + y, column = left + x;
                if (inside || (row >= 0 && row < of->h && column >= 0 && column < of->w))
                    d[y][x] = _mm256_loadu_ps(src + (size_t)(row * of->w + column) * BLOCK);
                else
                    d[y][x] = _mm256_setzero_ps();
            }
        transform_in(v, stride, d);
    }
}

/* m (rows, PANEL of oc) = v (rows, ic) x u (ic, PANEL). Each sum adds the channels in the same
 * order for any number of rows, so the bits of an image do not depend on the other images. */
TARGET INLINE void product_rows(float *m, const float *v, const float *u, int ic, int oc,
                                const int rows) {
    __m256 sums[ROWS][2];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
    for (int c = 0; c < ic; c++, u += PANEL) {
        const __m256 u0 = _mm256_load_ps(u), u1 = _mm256_load_ps(u + BLOCK);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 one = _mm256_broadcast_ss(v + (size_t)i * (size_t)ic + (size_t)c);
            sums[i][0] = _mm256_fmadd_ps(one, u0, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(one, u1, sums[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        _mm256_storeu_ps(m + (size_t)i * (size_t)oc, sums[i][0]);
        _mm256_storeu_ps(m + (size_t)i * (size_t)oc + BLOCK, sums[i][1]);
    }
}

/* Multiply the matrices of one place with one panel of weights: m (count, PANEL of oc), v (count,
 * ic). */
TARGET static void product(float *m, const float *v, const float *u, int count, int ic, int oc) {
    int at = 0;
    for (; at + ROWS <= count; at += ROWS)
        product_rows(m + (size_t)at * (size_t)oc, v + (size_t)at * (size_t)ic, u, ic, oc, ROWS);
    m += (size_t)at * (size_t)oc;
    v += (size_t)at * (size_t)ic;
    switch (count - at) {
        case 5: product_rows(m, v, u, ic, oc, 5); break;
        case 4: product_rows(m, v, u, ic, oc, 4); break;
        case 3: product_rows(m, v, u, ic, oc, 3); break;
        case 2: product_rows(m, v, u, ic, oc, 2); break;
        case 1: product_rows(m, v, u, ic, oc, 1); break;
        default: break;
    }
}

/* Write dst (n, oc, h, w) = relu(A' m A + bias) for all channels of one tile. */
TARGET static void tile_out(float *dst, const float *m, const float *bias,
                            const bird_winograd *of, int tile) {
    const size_t plane = plane_of(of), stride = stride_of(of, of->oc);
    const position at = position_of(of, tile);
    /* If a side is odd, it ends within the last tile. */
    const bool lower = at.y + 1 < of->h, right = at.x + 1 < of->w;
    const __m256 least = of->relu ? _mm256_setzero_ps() : _mm256_set1_ps(-__builtin_inff());

    dst += pixel_of(of, at);
    for (int c = 0; c < of->oc; c += BLOCK, dst += plane, m += BLOCK) {
        const __m256 add = bias ? _mm256_loadu_ps(bias + c) : _mm256_setzero_ps();
        __m256 rows[STEP][TILE];
#pragma GCC unroll 4
        for (int x = 0; x < TILE; x++) {
            const __m256 m0 = _mm256_loadu_ps(m + (size_t)x * stride);
            const __m256 m1 = _mm256_loadu_ps(m + (size_t)(TILE + x) * stride);
            const __m256 m2 = _mm256_loadu_ps(m + (size_t)(2 * TILE + x) * stride);
            const __m256 m3 = _mm256_loadu_ps(m + (size_t)(3 * TILE + x) * stride);
            rows[0][x] = _mm256_add_ps(_mm256_add_ps(m0, m1), m2);
            rows[1][x] = _mm256_sub_ps(_mm256_sub_ps(m1, m2), m3);
        }
#pragma GCC unroll 2
        for (int y = 0; y < STEP; y++) {
            const __m256 *r = rows[y];
            const __m256 first = _mm256_add_ps(_mm256_add_ps(r[0], r[1]), r[2]);
            const __m256 second = _mm256_sub_ps(_mm256_sub_ps(r[1], r[2]), r[3]);
            float *to = dst + (size_t)(y * of->w) * BLOCK;
            if (y > 0 && !lower) break;
            /* With `least` as the first operand, a NaN stays a NaN. */
            _mm256_storeu_ps(to, _mm256_max_ps(least, _mm256_add_ps(first, add)));
            if (right)
                _mm256_storeu_ps(to + BLOCK, _mm256_max_ps(least, _mm256_add_ps(second, add)));
        }
    }
}

/* out = G applied to three vectors: a, half of a + b + c, half of a - b + c, and c. */
TARGET INLINE void spread(__m256 out[TILE], __m256 a, __m256 b, __m256 c) {
    const __m256 half = _mm256_set1_ps(0.5f);
    out[0] = a;
    out[1] = _mm256_mul_ps(half, _mm256_add_ps(_mm256_add_ps(a, b), c));
    out[2] = _mm256_mul_ps(half, _mm256_add_ps(_mm256_sub_ps(a, b), c));
    out[3] = c;
}

/* Write to `to`, as PLACES vectors `matrix` floats apart, G g G' of BLOCK 3x3 filters, which lie
 * at g, g + apart[1], ... If `turned`, the numbers of each filter are read from the last to the
 * first. */
TARGET static void filters_in(float *to, size_t matrix, const float *g, __m256i apart,
                              bool turned) {
    __m256 rows[3][TILE]; /* by column of g */
    const ptrdiff_t step = turned ? -1 : 1;
    if (turned) g += 8;
    for (int x = 0; x < 3; x++, g += step)
        spread(rows[x], _mm256_i32gather_ps(g, apart, 4),
               _mm256_i32gather_ps(g + 3 * step, apart, 4),
               _mm256_i32gather_ps(g + 6 * step, apart, 4));
    for (int y = 0; y < TILE; y++) {
        __m256 row[TILE];
        spread(row, rows[0][y], rows[1][y], rows[2][y]);
        for (int x = 0; x < TILE; x++, to += matrix) _mm256_storeu_ps(to, row[x]);
    }
}

/* u has the shape (16, oc / PANEL, ic, PANEL). */
TARGET void bird_winograd_weights(const bird_winograd *of, float *u, const float *plain,
                                  bool turned, int n_threads) {
    const size_t matrix = (size_t)of->ic * (size_t)of->oc;
    /* Floats from the filter of one output or input channel to that of the next. */
    const int next_out = turned ? 9 : of->ic * 9, next_in = turned ? of->oc * 9 : 9;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
    for (int o = 0; o < of->oc; o += BLOCK) {
        const __m256i apart = _mm256_mullo_epi32(_mm256_set1_epi32(next_out),
                                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        const float *g = plain + (size_t)o * (size_t)next_out;
        float *to = u + (size_t)(o / PANEL * PANEL * of->ic + o % PANEL);
        for (int i = 0; i < of->ic; i++, g += next_in, to += PANEL)
            filters_in(to, matrix, g, apart, turned);
    }
}

void bird_winograd_forward(const bird_winograd *of, float *dst, const float *src, const float *u,
                           const float *bias, float *v, float *m, int n_threads) {
    const int n_panels = of->oc / PANEL;

#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    for (int first = 0; first < n_tiles(of); first += of->chunk) {
        const int count = chunk_from(of, first);
#pragma omp for schedule(static)
        for (int i = 0; i < count; i++)
            tile_in(v + (size_t)i * (size_t)of->ic, BLOCK, src, of, first + i);
#pragma omp for schedule(static)
        for (int i = 0; i < PLACES * n_panels; i++) {
            const size_t place = (size_t)(i / n_panels), panel = (size_t)(i % n_panels);
            product(m + place * stride_of(of, of->oc) + panel * PANEL,
                    v + place * stride_of(of, of->ic), u + (size_t)i * (size_t)of->ic * PANEL,
                    count, of->ic, of->oc);
        }
        /* No barrier: the next tiles overwrite v, which is no longer read, and the barrier that
         * follows them protects m. */
#pragma omp for schedule(static) nowait
        for (int i = 0; i < count; i++)
            tile_out(dst, m + (size_t)i * (size_t)of->oc, bias, of, first + i);
    }
}

/* Write m = A d A' of all channels of one tile of the output's gradient (n, oc, h, w). Blocks of
 * channels are `block` floats apart. If a side is odd, the pixels beyond it are 0. */
TARGET static void tile_back(float *m, size_t block, const float *diff, const bird_winograd *of,
                             int tile) {
    const size_t plane = plane_of(of), stride = stride_of(of, of->oc);
    const position at = position_of(of, tile);
    const bool lower = at.y + 1 < of->h, right = at.x + 1 < of->w;
    const __m256 zero = _mm256_setzero_ps();

    diff += pixel_of(of, at);
    for (int c = 0; c < of->oc; c += BLOCK, diff += plane, m += block) {
        __m256 rows[TILE][STEP];
#pragma GCC unroll 2
        for (int x = 0; x < STEP; x++) {
            const bool there = x == 0 || right;
            const float *from = diff + (size_t)x * BLOCK;
            const __m256 d0 = there ? _mm256_loadu_ps(from) : zero;
            const __m256 d1 =
                there && lower ? _mm256_loadu_ps(from + (size_t)of->w * BLOCK) : zero;
            rows[0][x] = d0;
            rows[1][x] = _mm256_add_ps(d0, d1);
            rows[2][x] = _mm256_sub_ps(d0, d1);
            rows[3][x] = _mm256_sub_ps(zero, d1);
        }
#pragma GCC unroll 4
        for (int y = 0; y < TILE; y++) {
            float *to = m + (size_t)(y * TILE) * stride;
            _mm256_storeu_ps(to, rows[y][0]);
            _mm256_storeu_ps(to + stride, _mm256_add_ps(rows[y][0], rows[y][1]));
            _mm256_storeu_ps(to + 2 * stride, _mm256_sub_ps(rows[y][0], rows[y][1]));
            _mm256_storeu_ps(to + 3 * stride, _mm256_sub_ps(zero, rows[y][1]));
        }
    }
}

/* u (QUARTER of ic, PANEL of oc) = v' x m over the tiles, added to u if `add`. v (count, BLOCK)
 * starts at the first of the QUARTER channels; m is two matrices (count, BLOCK), `block` floats
 * apart. */
TARGET static void outer_product(float *u, const float *v, const float *m, size_t block, int count,
                                 bool add) {
    __m256 sums[QUARTER][2];
#pragma GCC unroll 4
    for (int i = 0; i < QUARTER; i++) {
        sums[i][0] = add ? _mm256_loadu_ps(u + i * PANEL) : _mm256_setzero_ps();
        sums[i][1] = add ? _mm256_loadu_ps(u + i * PANEL + BLOCK) : _mm256_setzero_ps();
    }
    for (int t = 0; t < count; t++, v += BLOCK, m += BLOCK) {
        const __m256 m0 = _mm256_loadu_ps(m), m1 = _mm256_loadu_ps(m + block);
#pragma GCC unroll 4
        for (int i = 0; i < QUARTER; i++) {
            const __m256 one = _mm256_broadcast_ss(v + i);
            sums[i][0] = _mm256_fmadd_ps(one, m0, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(one, m1, sums[i][1]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < QUARTER; i++) {
        _mm256_storeu_ps(u + i * PANEL, sums[i][0]);
        _mm256_storeu_ps(u + i * PANEL + BLOCK, sums[i][1]);
    }
}

/* out = G' applied to four vectors. */
TARGET INLINE void gather(__m256 out[3], const __m256 u[TILE]) {
    const __m256 half = _mm256_set1_ps(0.5f);
    const __m256 sum = _mm256_mul_ps(half, _mm256_add_ps(u[1], u[2]));
    out[0] = _mm256_add_ps(u[0], sum);
    out[1] = _mm256_mul_ps(half, _mm256_sub_ps(u[1], u[2]));
    out[2] = _mm256_add_ps(sum, u[3]);
}

/* Write the 3x3 filters of BLOCK output channels, `filters` floats apart, to `to`: G' u G of PLACES
 * vectors `matrix` floats apart. */
TARGET static void filters_back(float *to, size_t filters, const float *u, size_t matrix) {
    __m256 rows[TILE][3], columns[TILE][TILE];
    float all[9][BLOCK];
    for (int y = 0; y < TILE; y++) {
        for (int x = 0; x < TILE; x++, u += matrix) columns[y][x] = _mm256_loadu_ps(u);
        gather(rows[y], columns[y]);
    }
    for (int x = 0; x < 3; x++) {
        const __m256 column[TILE] = {rows[0][x], rows[1][x], rows[2][x], rows[3][x]};
        __m256 out[3];
        gather(out, column);
        for (int y = 0; y < 3; y++) _mm256_storeu_ps(all[y * 3 + x], out[y]);
    }
    for (size_t o = 0; o < BLOCK; o++)
        for (size_t k = 0; k < 9; k++) to[o * filters + k] = all[k][o];
}

void bird_winograd_backward_weights(const bird_winograd *of, float *diff_weights,
                                    const float *src, const float *diff_dst, float *v, float *m,
                                    float *u, int n_threads) {
    const size_t block = (size_t)of->chunk * BLOCK, filters = (size_t)of->ic * 9;
    const size_t matrix = (size_t)of->ic * (size_t)of->oc;
    const int n_panels = of->oc / PANEL;

#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        for (int first = 0; first < n_tiles(of); first += of->chunk) {
            const int count = chunk_from(of, first);
#pragma omp for schedule(static)
            for (int i = 0; i < count; i++) {
                tile_in(v + (size_t)i * BLOCK, block, src, of, first + i);
                tile_back(m + (size_t)i * BLOCK, block, diff_dst, of, first + i);
            }
#pragma omp for schedule(static)
            for (int i = 0; i < PLACES * n_panels; i++) {
                const size_t place = (size_t)(i / n_panels), panel = (size_t)(i % n_panels);
                const float *mine = v + place * stride_of(of, of->ic);
                const float *right = m + place * stride_of(of, of->oc) + panel * 2 * block;
                float *to = u + (size_t)i * (size_t)of->ic * PANEL;
                for (int c = 0; c < of->ic; c += QUARTER, to += QUARTER * PANEL)
                    outer_product(to, mine + (size_t)(c / BLOCK) * block + c % BLOCK, right,
                                  block, count, first > 0);
            }
        }
#pragma omp for schedule(static)
        for (int o = 0; o < of->oc; o += BLOCK)
            for (int i = 0; i < of->ic; i++)
                filters_back(diff_weights + (size_t)o * filters + (size_t)i * 9, filters,
                             u + (size_t)(o / PANEL * of->ic + i) * PANEL + o % PANEL, matrix);
    }
}
