#include "image/augment_geometry.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* Bits of the fractions in the bilinear weights: two fractions and 8 bits of a sample make 30. */
enum { WEIGHT_BITS = 11 };

bird_geometry bird_geometry_whole(size_t height, size_t width) {
    return (bird_geometry){.width = width, .height = height, .matrix = {1, 0, 0, 1}};
}

void bird_geometry_draw_box(bird_geometry *geometry, size_t height, size_t width,
                            double min_area, bird_rng *rng) {
    const double narrowest = 3.0 / 4.0, widest = 4.0 / 3.0;
    double w = (double)width, h = (double)height;
    for (int attempt = 0; attempt < 10; attempt++) {
        double area = w * h * bird_rng_uniform(rng, min_area, 1.0);
        double ratio = exp(bird_rng_uniform(rng, log(narrowest), log(widest)));
        double box_w = nearbyint(sqrt(area * ratio)), box_h = nearbyint(sqrt(area / ratio));
        if (box_w < 1 || box_h < 1 || box_w > w || box_h > h) continue;
        geometry->width = (size_t)box_w;
        geometry->height = (size_t)box_h;
        geometry->x = (size_t)bird_rng_below(rng, width - geometry->width + 1);
        geometry->y = (size_t)bird_rng_below(rng, height - geometry->height + 1);
        return;
    }
    geometry->width = width;
    geometry->height = height;
    if (w / h < narrowest) geometry->height = (size_t)fmax(1, nearbyint(w / narrowest));
    if (w / h > widest) geometry->width = (size_t)fmax(1, nearbyint(h * widest));
    geometry->x = (width - geometry->width) / 2;
    geometry->y = (height - geometry->height) / 2;
}

void bird_geometry_rotate(bird_geometry *geometry, double degrees) {
    double angle = degrees * (3.14159265358979323846 / 180.0);
    geometry->matrix[0] = geometry->matrix[3] = cos(angle);
    geometry->matrix[1] = -sin(angle);
    geometry->matrix[2] = sin(angle);
}

/* One axis of a warp's source. The source position of the pixel with its centre at (x, y) is offset
 * + x right + y down. `low` and `n` say which source pixels are needed; they may lie outside the
 * image. `reduced` is their number after shrinking, if the view is coarser than the image. */
typedef struct span {
    double offset, right, down;
    int64_t low;
    size_t n, reduced;
} span;

static bird_status span_init(span *s, double begin, double length, double size, bool mirrored,
                             const double *row, double shift, bird_error *err) {
    double scale = length / size, center = size / 2;
    double toward = mirrored ? -scale : scale, lowest, highest, margin;
    s->right = toward * row[0];
    s->down = toward * row[1];
    s->offset = begin + length / 2 + toward * (shift - center * (row[0] + row[1]));
    /* The pixel centres of the corners bound all others. */
    lowest = highest = s->offset + (s->right + s->down) / 2;
    lowest += fmin(s->right, 0) * (size - 1) + fmin(s->down, 0) * (size - 1);
    highest += fmax(s->right, 0) * (size - 1) + fmax(s->down, 0) * (size - 1);
    /* Negated: NaN must fail too. */
    if (!(fabs(lowest) < 1 << 24 && fabs(highest) < 1 << 24 && fabs(s->right) < 1 << 24 &&
          fabs(s->down) < 1 << 24))
        return bird_fail(err, BIRD_ARG, "a warp reaches %g to %g pixels, too far", lowest,
                         highest);
    /* Bilinear sampling needs one more pixel, and antialiasing one more pixel of the view. */
    margin = 2 + ceil(fmax(scale, 1) * 2);
    s->low = (int64_t)(floor(lowest) - margin);
    s->n = (size_t)((int64_t)(ceil(highest) + margin) - s->low);
    s->reduced = scale > 1 ? (size_t)ceil((double)s->n / scale) : s->n;
    return BIRD_OK;
}

/* Return the pixel at `position` of a row of n pixels that is mirrored endlessly at both ends. */
static size_t mirrored(int64_t position, size_t n) {
    int64_t period = 2 * (int64_t)n;
    int64_t p = position % period;
    if (p < 0) p += period;
    return (size_t)(p < (int64_t)n ? p : period - 1 - p);
}

/* Write dst (y.n, x.n, 3): the part of the endlessly mirrored image that both spans describe. */
static void cut_out(uint8_t *dst, const bird_image *image, const span *x, const span *y) {
    int64_t width = (int64_t)image->width, end = x->low + (int64_t)x->n;
    int64_t inside = x->low < 0 ? 0 : x->low < width ? x->low : width;
    int64_t outside = end < inside ? inside : end < width ? end : width;
    for (size_t i = 0; i < y->n; i++, dst += 3 * x->n) {
        size_t row = mirrored(y->low + (int64_t)i, image->height);
        const uint8_t *from = image->pixels + 3 * row * image->width;
        uint8_t *to = dst;
        for (int64_t p = x->low; p < end && p < inside; p++, to += 3)
            memcpy(to, from + 3 * mirrored(p, image->width), 3);
        if (outside > inside) {
            memcpy(to, from + 3 * inside, 3 * (size_t)(outside - inside));
            to += 3 * (outside - inside);
        }
        for (int64_t p = outside > x->low ? outside : x->low; to < dst + 3 * x->n; p++, to += 3)
            memcpy(to, from + 3 * mirrored(p, image->width), 3);
    }
}

/* The numbers of a span, for positions in reduced pixels, in units of 2^-32 of a pixel. */
typedef struct stepper {
    double offset, down;
    int64_t right, last; /* last: the highest position with a right neighbour */
} stepper;

static stepper stepper_of(const span *s) {
    double scale = (double)s->reduced / (double)s->n, unit = 0x1p32 * scale;
    /* Half a pixel less, because the value of a pixel is at its centre. */
    return (stepper){((s->offset - (double)s->low) * scale - 0.5) * 0x1p32, s->down * unit,
                     llrint(s->right * unit), ((int64_t)s->reduced - 1) * (INT64_C(1) << 32) - 1};
}

static inline int64_t clamped(int64_t position, int64_t last) {
    return position < 0 ? 0 : position > last ? last : position;
}

/* Write dst (size, size, 3), sampled from src (y.reduced, x.reduced, 3). */
static void sample(uint8_t *dst, const uint8_t *src, size_t size, const span *x, const span *y) {
    stepper across = stepper_of(x), along = stepper_of(y);
    size_t stride = 3 * x->reduced;
    const uint32_t one = 1u << WEIGHT_BITS, half = 1u << (2 * WEIGHT_BITS - 1);
    for (size_t j = 0; j < size; j++) {
        double below = (double)j + 0.5;
        int64_t px = llrint(across.offset + below * across.down) + across.right / 2;
        int64_t py = llrint(along.offset + below * along.down) + along.right / 2;
        for (size_t i = 0; i < size; i++, dst += 3, px += across.right, py += along.right) {
            /* The margins cover every position; the clamp handles rounding errors. */
            int64_t cx = clamped(px, across.last), cy = clamped(py, along.last);
            uint32_t fx = (uint32_t)cx >> (32 - WEIGHT_BITS);
            uint32_t fy = (uint32_t)cy >> (32 - WEIGHT_BITS);
            const uint8_t *up = src + (size_t)(cy >> 32) * stride + 3 * (size_t)(cx >> 32);
            const uint8_t *low = up + stride;
            uint32_t w11 = fx * fy, w10 = one * fy - w11, w01 = one * fx - w11;
            uint32_t w00 = one * one - w11 - w10 - w01;
            for (int c = 0; c < 3; c++)
                dst[c] = (uint8_t)((up[c] * w00 + up[c + 3] * w01 + low[c] * w10 +
                                    low[c + 3] * w11 + half) >>
                                   (2 * WEIGHT_BITS));
        }
    }
}

static bool is_warped(const bird_geometry *g) {
    return g->matrix[0] != 1 || g->matrix[1] != 0 || g->matrix[2] != 0 || g->matrix[3] != 1 ||
           g->shift[0] != 0 || g->shift[1] != 0;
}

static void flip(uint8_t *rgb, size_t size) {
    for (size_t y = 0; y < size; y++) {
        uint8_t *left = rgb + 3 * y * size, *right = left + 3 * (size - 1);
        for (; left < right; left += 3, right -= 3) {
            uint8_t pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}

bird_status bird_geometry_apply(uint8_t *dst, const bird_image *image,
                                const bird_geometry *geometry, size_t size, bird_filter filter,
                                bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_geometry *g = geometry;
    bool warped = is_warped(g);
    span x = {.low = (int64_t)g->x, .n = g->width, .reduced = size};
    span y = {.low = (int64_t)g->y, .n = g->height, .reduced = size};
    uint8_t *part = NULL, *reduced = NULL;
    size_t bytes;

    if (warped) {
        BIRD_TRY(span_init(&x, (double)g->x, (double)g->width, (double)size, g->flip, g->matrix,
                           g->shift[0], err));
        BIRD_TRY(span_init(&y, (double)g->y, (double)g->height, (double)size, false,
                           g->matrix + 2, g->shift[1], err));
    }
    /* A rotated box extends beyond the image, but not that far. */
    if (x.n > 4 * BIRD_MAX_PIXELS / y.n)
        BIRD_FAIL(BIRD_ARG, "a warp needs %zu x %zu source pixels, too far", x.n, y.n);
    if (!bird_size_mul(x.n, 3, &bytes) || !bird_size_mul(bytes, y.n, &bytes) ||
        !(part = bird_alloc(bytes)))
        BIRD_FAIL(BIRD_NOMEM, "out of memory for a view of %zu x %zu pixels", x.n, y.n);
    cut_out(part, image, &x, &y);
    if (x.reduced != x.n || y.reduced != y.n || !warped) {
        bird_window all = {0, 0, x.reduced, y.reduced};
        if (warped && !(reduced = bird_alloc(x.reduced * y.reduced * 3)))
            BIRD_FAIL(BIRD_NOMEM, "out of memory for a view of %zu pixels", size);
        BIRD_TRY(bird_resize(warped ? reduced : dst, part, y.n, x.n, y.reduced, x.reduced, all,
                             filter, err));
    }
    if (warped)
        sample(dst, reduced ? reduced : part, size, &x, &y);
    else if (g->flip)
        flip(dst, size);
cleanup:
    bird_free(part);
    bird_free(reduced);
    return status;
}
