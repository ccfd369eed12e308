/* F(4x4, 3x3) for one instruction set, written with vector functions. The including file defines
 *
 *   LANES, WIDTH, ROWS   the sums of a product, ROWS tiles x WIDTH vectors, which fit the registers
 *   FETCHES              true if weights are prefetched
 *   TARGET, WORD         attributes that allow the instructions, for functions and vector functions
 *   vector               the type of LANES floats, which supports the operators + - * /
 *   load (aligned), load_any, store_any, same (all lanes one number), multiply_add (a * b + c),
 *   at_least             (least, a): the larger of the two; a if a is NaN
 *   NUMBER, take, put    the type of src and dst, and how to load and store a vector of it; floats
 *                        if NUMBER is not defined
 *
 * The loops over places, pixels and rows are fully unrolled, so that their arrays live in
 * registers.
 */
#ifndef BIRD_NN_WINOGRAD4_TILE_H
#define BIRD_NN_WINOGRAD4_TILE_H

#include "nn/winograd4_shape.h"

#ifndef NUMBER
#define NUMBER float
#define take   load_any
#define put    store_any
#endif

enum {
    TILE = WINOGRAD4_TILE,
    STEP = WINOGRAD4_STEP,
    PLACES = WINOGRAD4_PLACES,
    PANEL = WIDTH * LANES
};

/* The position of a tile: its image and its upper left output pixel. */
typedef struct position {
    size_t image;
    int y, x;
} position;

static inline position position_of(const bird_winograd4 *of, int tile) {
    const int within = tile % of->tiles_hw;
    return (position){(size_t)(tile / of->tiles_hw), within / of->tiles_w * STEP,
                      within % of->tiles_w * STEP};
}

/* Strides of (h, w) pixels with several channels, in floats. */
typedef struct layout {
    size_t pixel, plane, row; /* from one pixel, group of channels, row to the next */
} layout;

static inline layout layout_of(const bird_winograd4 *of, int channels) {
    const size_t pixel = (size_t)(of->group ? of->group : channels);
    return (layout){pixel, pixel * (size_t)(of->h * of->w), pixel * (size_t)of->w};
}

/* Return the offset of a channel of the first pixel. */
static inline size_t offset_of(layout lies, size_t channel) {
    return channel / lies.pixel * lies.plane + channel % lies.pixel;
}

/* out = B' applied to six vectors. */
WORD void spread_in(vector out[TILE], const vector d[TILE]) {
    const vector four = same(4.0f), five = same(-5.0f), two = same(2.0f);
    const vector even = multiply_add(same(-4.0f), d[2], d[4]);
    const vector odd = multiply_add(same(-4.0f), d[1], d[3]);
    const vector far_even = d[4] - d[2], far_odd = two * (d[3] - d[1]);
    out[0] = multiply_add(four, d[0], multiply_add(five, d[2], d[4]));
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = far_even + far_odd;
    out[4] = far_even - far_odd;
    out[5] = multiply_add(four, d[1], multiply_add(five, d[3], d[5]));
}

/* out = A' applied to six vectors. */
WORD void gather_out(vector out[STEP], const vector m[TILE]) {
    const vector even = m[1] + m[2], odd = m[1] - m[2];
    const vector far_even = m[3] + m[4], far_odd = m[3] - m[4];
    out[0] = m[0] + (even + far_even);
    out[1] = multiply_add(same(2.0f), far_odd, odd);
    out[2] = multiply_add(same(4.0f), far_even, even);
    out[3] = multiply_add(same(8.0f), far_odd, odd) + m[5];
}

/* Write v = all channels of one tile of src (n, ic, h, w), transformed, with places `stride` floats
 * apart. Pixels outside the image are 0. */
TARGET static void tile_in(float *v, size_t stride, const NUMBER *src, const bird_winograd4 *of,
                           int tile) {
    const position at = position_of(of, tile);
    const layout lies = layout_of(of, of->ic);
    const int top = at.y - 1, left = at.x - 1;
    const int below = of->h - top, right = of->w - left; /* pixels inside the image */
    const bool inside = top >= 0 && left >= 0 && below >= TILE && right >= TILE;

    src += at.image * (size_t)of->ic * (size_t)(of->h * of->w);
    for (int c = 0; c < of->ic; c += LANES, v += LANES) {
        const NUMBER *own = src + offset_of(lies, (size_t)c);
        vector columns[TILE][TILE];
#pragma GCC unroll 6
        for (int x = 0; x < TILE; x++) {
            vector d[TILE];
#pragma GCC unroll 6
            for (int y = 0; y < TILE; y++)
                if (inside || (top + y >= 0 && y < below && left + x >= 0 && x < right))
                    d[y] = take(own + (size_t)(top + y) * lies.row +
                                (size_t)(left + x) * lies.pixel);
                else
                    d[y] = same(0.0f);
            spread_in(columns[x], d);
        }
#pragma GCC unroll 6
        for (int y = 0; y < TILE; y++) {
            vector d[TILE], row[TILE];
#pragma GCC unroll 6
            for (int x = 0; x < TILE; x++) d[x] = columns[x][y];
            spread_in(row, d);
#pragma GCC unroll 6
            for (int x = 0; x < TILE; x++) store_any(v + (size_t)(y * TILE + x) * stride, row[x]);
        }
    }
}

/* m (rows, PANEL) = v (rows, ic) x u (ic, PANEL). Each sum adds the channels in the same order for
 * any number of rows, so the bits of an image do not depend on the other images. */
WORD void product_rows(float *m, const float *v, const float *u, int ic, const int rows) {
    const size_t panel = (size_t)ic * PANEL;
    vector sums[ROWS][WIDTH];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < WIDTH; j++) sums[i][j] = same(0.0f);
    for (int c = 0; c < ic; c++, u += PANEL) {
        const vector first = load(u), second = load(u + LANES);
        if (FETCHES) __builtin_prefetch(u + panel); /* for the next place */
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            const vector one = same(v[(size_t)i * (size_t)ic + (size_t)c]);
            sums[i][0] = multiply_add(one, first, sums[i][0]);
            sums[i][1] = multiply_add(one, second, sums[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < WIDTH; j++) store_any(m + i * PANEL + j * LANES, sums[i][j]);
}

#define OF_ROWS(n)                                                    \
    case n:                                                           \
        if (n <= ROWS) product_rows(m, v, u, ic, n <= ROWS ? n : 1);  \
        break

/* Multiply the matrices of one place: m (count, PANEL), v (count, ic). Rows are divided evenly,
 * because a product of few rows has to wait for its own sums. */
TARGET static void product(float *m, const float *v, const float *u, int count, int ic) {
    for (int groups = (count + ROWS - 1) / ROWS; groups > 0; groups--) {
        const int rows = (count + groups - 1) / groups;
        switch (rows) {
            OF_ROWS(1); OF_ROWS(2); OF_ROWS(3); OF_ROWS(4); OF_ROWS(5); OF_ROWS(6);
            OF_ROWS(7); OF_ROWS(8); OF_ROWS(9); OF_ROWS(10); OF_ROWS(11); OF_ROWS(12);
            default: break;
        }
        count -= rows;
        m += (size_t)rows * PANEL;
        v += (size_t)rows * (size_t)ic;
    }
}

/* Write dst (n, oc, h, w) = relu(A' m A + bias), PANEL channels from `channel` on of one tile. */
TARGET static void tile_out(NUMBER *dst, const float *m, size_t stride, const float *bias,
                            const bird_winograd4 *of, int tile, int channel) {
    const position at = position_of(of, tile);
    const layout lies = layout_of(of, of->oc);
    const int below = of->h - at.y, right = of->w - at.x; /* the image may end within the tile */
    const vector least = same(of->relu ? 0.0f : -__builtin_inff());

    dst += at.image * (size_t)of->oc * (size_t)(of->h * of->w) + (size_t)at.y * lies.row +
           (size_t)at.x * lies.pixel;
    for (int j = 0; j < PANEL; j += LANES, m += LANES) {
        NUMBER *own = dst + offset_of(lies, (size_t)(channel + j));
        const vector add = load_any(bias + channel + j);
        vector columns[TILE][STEP];
#pragma GCC unroll 6
        for (int x = 0; x < TILE; x++) {
            vector d[TILE];
#pragma GCC unroll 6
            for (int y = 0; y < TILE; y++) d[y] = load(m + (size_t)(y * TILE + x) * stride);
            gather_out(columns[x], d);
        }
#pragma GCC unroll 4
        for (int y = 0; y < STEP; y++, own += lies.row) {
            vector d[TILE], row[STEP];
            if (y >= below) break;
#pragma GCC unroll 6
            for (int x = 0; x < TILE; x++) d[x] = columns[x][y];
            gather_out(row, d);
#pragma GCC unroll 4
            for (int x = 0; x < STEP; x++)
                if (x < right)
                    put(own + (size_t)x * lies.pixel, at_least(least, row[x] + add));
        }
    }
}

TARGET static void run(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                       const float *bias, float *scratch, int first, int panel) {
    const size_t v_stride = winograd4_stride(of, of->ic), m_stride = winograd4_stride(of, PANEL);
    const size_t matrix = (size_t)of->ic * PANEL;
    const int left = of->n * of->tiles_hw - first, panels_left = of->oc / PANEL - panel;
    const int count = left < of->block ? left : of->block;
    const int end = panel + (panels_left < of->panels ? panels_left : of->panels);
    float *v = scratch, *m = scratch + PLACES * v_stride;

    for (int i = 0; i < count; i++)
        tile_in(v + (size_t)i * (size_t)of->ic, v_stride, src, of, first + i);
    u += (size_t)panel * PLACES * matrix;
    for (; panel < end; panel++) {
        for (size_t place = 0; place < PLACES; place++, u += matrix)
            product(m + place * m_stride, v + place * v_stride, u, count, of->ic);
        for (int i = 0; i < count; i++)
            tile_out(dst, m + (size_t)i * PANEL, m_stride, bias, of, first + i, panel * PANEL);
    }
}

/* out = G applied to three vectors, each times its entry of `parts`: whole numbers stay whole. */
WORD void spread_filter(vector out[TILE], vector a, vector b, vector c) {
    const vector sum = a + c, far_sum = multiply_add(same(4.0f), c, a), far_b = same(2.0f) * b;
    out[0] = a;
    out[1] = same(0.0f) - (sum + b);
    out[2] = b - sum;
    out[3] = far_sum + far_b;
    out[4] = far_sum - far_b;
    out[5] = c;
}

/* Write to `to`, as PLACES vectors `matrix` floats apart, G g G' of LANES filters g (9, LANES).
 * Divide only once, at the end, because multiplying by a sixth is not exact. */
TARGET static void filters_in(float *to, size_t matrix, const float *g) {
    static const float parts[TILE] = {4, 6, 6, 24, 24, 1};
    vector rows[3][TILE]; /* by column of g */
    for (int x = 0; x < 3; x++)
        spread_filter(rows[x], load(g + x * LANES), load(g + (x + 3) * LANES),
                      load(g + (x + 6) * LANES));
    for (int y = 0; y < TILE; y++) {
        vector row[TILE];
        spread_filter(row, rows[0][y], rows[1][y], rows[2][y]);
        for (int x = 0; x < TILE; x++, to += matrix)
            store_any(to, row[x] / same(parts[y] * parts[x]));
    }
}

TARGET static void weights(float *u, const float *plain, int oc, int ic) {
    const size_t matrix = (size_t)ic * PANEL, filters = (size_t)ic * 9;
    for (int o = 0; o < oc; o += LANES, plain += LANES * filters) {
        float *to = u + (size_t)(o / PANEL) * PLACES * matrix + (size_t)(o % PANEL);
        for (int i = 0; i < ic; i++, to += PANEL) {
            _Alignas(64) float g[9 * LANES];
            for (size_t lane = 0; lane < LANES; lane++)
                for (size_t k = 0; k < 9; k++)
                    g[k * LANES + lane] = plain[lane * filters + (size_t)i * 9 + k];
            filters_in(to, matrix, g);
        }
    }
}

#endif
