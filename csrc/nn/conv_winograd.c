#include "nn/conv_winograd.h"

#include <immintrin.h>

#include "nn/packed_build.h"
#include "nn/plan_build.h"

enum {
    BLOCK = 8,           /* channels side by side in nChw8c: one vector */
    TILE = 4,            /* pixels read of a side */
    STEP = 2,            /* pixels written of a side */
    PLACES = TILE * TILE,
    PANEL = 2 * BLOCK,   /* output channels of a product's inner loop */
    ROWS = 6,            /* its tiles: 12 sums fill AVX2's registers */
    CHUNK = 196,         /* tiles on their way at once: their matrices stay in the caches */
    /* Floats between the matrices of two places, which else fall on the same sets of a cache. */
    GAP = 16
};

#define TARGET __attribute__((target("avx2,fma")))

/* The operation of one step. */
typedef struct geometry {
    int n, ic, oc, h, w;
    int tiles_w, tiles_hw; /* tiles of a row and of a picture */
    int chunk;             /* tiles on their way at once: CHUNK, or all there are */
    bool relu;
} geometry;

/* Floats from one place's matrix (chunk, channels) to the next's. */
static size_t stride_of(const geometry *of, int channels) {
    return (size_t)of->chunk * (size_t)channels + GAP;
}

/* Where a tile lies: its picture, its upper left output pixel. */
typedef struct position {
    size_t picture;
    int y, x;
} position;

static position position_of(const geometry *of, int tile) {
    const int within = tile % of->tiles_hw;
    return (position){(size_t)(tile / of->tiles_hw), within / of->tiles_w * STEP,
                      within % of->tiles_w * STEP};
}

/* v = B' d B of 4x4 pixels; v (place) `stride` floats apart. */
TARGET static inline __attribute__((always_inline)) void transform_in(float *v, size_t stride,
                                                                      __m256 d[TILE][TILE]) {
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

/* v = all channels of one tile, transformed; zeros lie around the picture `src` (ic, h, w). */
TARGET static void tile_in(float *v, const float *src, const geometry *of, position at) {
    const size_t plane = (size_t)(of->h * of->w) * BLOCK, stride = stride_of(of, of->ic);
    const int top = at.y - 1, left = at.x - 1;
    const bool inside =
        top >= 0 && left >= 0 && top + TILE <= of->h && left + TILE <= of->w;

    for (int c = 0; c < of->ic; c += BLOCK, src += plane, v += BLOCK) {
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

/* m (rows, PANEL of oc) = v (rows, ic) x u (ic, PANEL). Each sum runs over the channels in one
 * order, however many rows there are: the bits of a picture do not depend on its neighbours. */
TARGET static inline __attribute__((always_inline)) void product_rows(
    float *m, const float *v, const float *u, int ic, int oc, const int rows) {
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

/* One place's matrices and one panel of weights: m (count, PANEL of oc), v (count, ic). */
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

/* dst (oc, h, w) = relu(A' m A + bias), all channels of one tile. */
TARGET static void tile_out(float *dst, const float *m, const float *bias, const geometry *of,
                            position at) {
    const size_t plane = (size_t)(of->h * of->w) * BLOCK, stride = stride_of(of, of->oc);
    /* An odd side ends within the last tile. */
    const bool lower = at.y + 1 < of->h, right = at.x + 1 < of->w;
    const __m256 least = of->relu ? _mm256_setzero_ps() : _mm256_set1_ps(-__builtin_inff());

    dst += (size_t)(at.y * of->w + at.x) * BLOCK;
    for (int c = 0; c < of->oc; c += BLOCK, dst += plane, m += BLOCK) {
        const __m256 add = _mm256_loadu_ps(bias + c);
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
            /* `least` comes first: then a NaN stays one. */
            _mm256_storeu_ps(to, _mm256_max_ps(least, _mm256_add_ps(first, add)));
            if (right)
                _mm256_storeu_ps(to + BLOCK, _mm256_max_ps(least, _mm256_add_ps(second, add)));
        }
    }
}

/* data: src (n, ic, h, w) and dst (n, oc, h, w) in nChw8c, bias (oc), u as transform_weights makes
 * it, v (16, chunk, ic) and m (16, chunk, oc) with gaps. */
static void run(const void *context, void *const *data, int n_threads) {
    const geometry *of = context;
    const float *src = data[0], *u = data[1], *bias = data[2];
    float *dst = data[3], *v = data[4], *m = data[5];
    const size_t plane = (size_t)(of->h * of->w);
    const size_t picture_in = (size_t)of->ic * plane, picture_out = (size_t)of->oc * plane;
    const int n_tiles = of->n * of->tiles_hw, n_panels = of->oc / PANEL;

#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    for (int first = 0; first < n_tiles; first += of->chunk) {
        const int count = n_tiles - first < of->chunk ? n_tiles - first : of->chunk;
#pragma omp for schedule(static)
        for (int i = 0; i < count; i++) {
            const position at = position_of(of, first + i);
            tile_in(v + (size_t)i * (size_t)of->ic, src + at.picture * picture_in, of, at);
        }
#pragma omp for schedule(static)
        for (int i = 0; i < PLACES * n_panels; i++) {
            const size_t place = (size_t)(i / n_panels), panel = (size_t)(i % n_panels);
            product(m + place * stride_of(of, of->oc) + panel * PANEL,
                    v + place * stride_of(of, of->ic), u + (size_t)i * (size_t)of->ic * PANEL,
                    count, of->ic, of->oc);
        }
        /* No barrier: the next tiles write v, which nobody reads any more, and wait before m. */
#pragma omp for schedule(static) nowait
        for (int i = 0; i < count; i++) {
            const position at = position_of(of, first + i);
            tile_out(dst + at.picture * picture_out, m + (size_t)i * (size_t)of->oc, bias, of, at);
        }
    }
}

/* G of three vectors: their ends, and half their sum with either sign of the middle. */
TARGET static inline __attribute__((always_inline)) void spread(__m256 out[TILE], __m256 a,
                                                                __m256 b, __m256 c) {
    const __m256 half = _mm256_set1_ps(0.5f);
    out[0] = a;
    out[1] = _mm256_mul_ps(half, _mm256_add_ps(_mm256_add_ps(a, b), c));
    out[2] = _mm256_mul_ps(half, _mm256_add_ps(_mm256_sub_ps(a, b), c));
    out[3] = c;
}

/* to, PLACES vectors `matrix` floats apart, = G g G' of the 3x3 filters at g, g + apart[1], ... */
TARGET static void transform_filters(float *to, size_t matrix, const float *g, __m256i apart) {
    __m256 rows[3][TILE]; /* by column of g */
    for (int x = 0; x < 3; x++)
        spread(rows[x], _mm256_i32gather_ps(g + x, apart, 4),
               _mm256_i32gather_ps(g + 3 + x, apart, 4), _mm256_i32gather_ps(g + 6 + x, apart, 4));
    for (int y = 0; y < TILE; y++) {
        __m256 row[TILE];
        spread(row, rows[0][y], rows[1][y], rows[2][y]);
        for (int x = 0; x < TILE; x++, to += matrix) _mm256_storeu_ps(to, row[x]);
    }
}

/* to (16, oc / PANEL, ic, PANEL), of plain (oc, ic, 3, 3). */
TARGET static void transform_weights(float *to, const float *plain, int oc, int ic) {
    const size_t matrix = (size_t)ic * (size_t)oc;
    const int filters = ic * 9; /* floats of an output channel */
    const __m256i apart = _mm256_mullo_epi32(_mm256_set1_epi32(filters),
                                             _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (int o = 0; o < oc; o += PANEL)
        for (int i = 0; i < ic; i++)
            for (int lane = 0; lane < PANEL; lane += BLOCK, to += BLOCK) {
                const float *first = plain + (size_t)(o + lane) * (size_t)filters;
                transform_filters(to, matrix, first + (size_t)i * 9, apart);
            }
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

/* The transformed weights and the bias, as values. */
static bird_status constants(bird_plan *plan, bird_value *u, bird_value *bias,
                             const bird_conv *conv, bird_packed *packed, int key,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    const int count = PLACES * conv->ic * conv->oc;
    dnnl_memory_desc_t plain_md = NULL, u_md = NULL;
    void *u_data;
    float *bias_data;

    BIRD_TRY(bird_tensor_md(&plain_md, conv->oc, conv->ic, 3, 3, dnnl_oihw, err));
    BIRD_TRY(floats(&u_md, (size_t)count, err));
    BIRD_TRY(bird_packed_get(packed, &u_data, &bias_data, key, u_md, plain_md, transform_weights,
                             err));
    BIRD_TRY(bird_plan_vector(plan, u, count, u_data, err));
    BIRD_TRY(bird_plan_vector(plan, bias, conv->oc, bias_data, err));
cleanup:
    dnnl_memory_desc_destroy(u_md);
    dnnl_memory_desc_destroy(plain_md);
    return status;
}

bird_status bird_conv_winograd(bird_plan *plan, bird_value *dst, bird_value src,
                               const bird_conv *conv, bool relu, bird_packed *packed, int key,
                               bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t src_md = NULL, dst_md = NULL;
    bird_value u, bias, v, m, made;
    const int tiles_h = (conv->ih + 1) / STEP, tiles_w = (conv->iw + 1) / STEP;
    const int tiles_hw = tiles_w * tiles_h, n_tiles = tiles_hw * conv->n;
    const geometry of = {.n = conv->n, .ic = conv->ic, .oc = conv->oc, .h = conv->ih,
                         .w = conv->iw, .tiles_w = tiles_w, .tiles_hw = tiles_hw,
                         .chunk = n_tiles < CHUNK ? n_tiles : CHUNK, .relu = relu};

    *dst = BIRD_NO_VALUE;
    BIRD_TRY(bird_tensor_md(&src_md, conv->n, conv->ic, conv->ih, conv->iw, dnnl_nChw8c, err));
    BIRD_TRY(bird_tensor_md(&dst_md, conv->n, conv->oc, conv->ih, conv->iw, dnnl_nChw8c, err));
    BIRD_TRY(constants(plan, &u, &bias, conv, packed, key, err));
    BIRD_TRY(bird_plan_reordered(plan, &src, src, src_md, err));
    BIRD_TRY(bird_plan_value(plan, &made, dst_md, err));
    BIRD_TRY(scratch(plan, &v, PLACES * stride_of(&of, conv->ic), err));
    BIRD_TRY(scratch(plan, &m, PLACES * stride_of(&of, conv->oc), err));
    const bird_value values[] = {src, u, bias, made, v, m};
    BIRD_TRY(bird_plan_push_own(plan, run, &of, sizeof of, 6, values, err));
    *dst = made;
cleanup:
    dnnl_memory_desc_destroy(dst_md);
    dnnl_memory_desc_destroy(src_md);
    return status;
}
