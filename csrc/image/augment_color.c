/* There are two families. Enhancements blend the image with a degenerate one (black, grey, smooth):
 * degenerate + factor * (image - degenerate), in float32 and clipped to 0 .. 255, as in Pillow's
 * Image.blend. Point operations are a table of 256 samples per channel. */
#include "image/augment_color.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

static inline uint8_t blend(int degenerate, int sample, float factor) {
    float value = (float)degenerate + factor * (float)(sample - degenerate);
    return (uint8_t)(value <= 0.0f ? 0.0f : value >= 255.0f ? 255.0f : value);
}

/* ITU-R 601 luma in 16-bit fractions, as in Pillow's convert("L"). */
static inline int luma(const uint8_t *rgb) {
    return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16;
}

static void look_up(uint8_t *rgb, size_t n, uint8_t table[3][256]) {
    for (size_t i = 0; i < n; i++, rgb += 3) {
        rgb[0] = table[0][rgb[0]];
        rgb[1] = table[1][rgb[1]];
        rgb[2] = table[2][rgb[2]];
    }
}

/* Use the first table for all channels. */
static void repeat_table(uint8_t table[3][256]) {
    memcpy(table[1], table[0], 256);
    memcpy(table[2], table[0], 256);
}

/* Blend with a uniform grey. */
static void blend_flat(uint8_t *rgb, size_t n, int grey, float factor) {
    uint8_t table[3][256];
    for (int v = 0; v < 256; v++) table[0][v] = blend(grey, v, factor);
    repeat_table(table);
    look_up(rgb, n, table);
}

static int mean_luma(const uint8_t *rgb, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (uint64_t)luma(rgb + 3 * i);
    /* int(mean + 0.5), in integer arithmetic */
    return (int)((2 * sum + n) / (2 * n));
}

static void saturate(uint8_t *rgb, size_t n, float factor) {
    for (size_t i = 0; i < n; i++, rgb += 3) {
        int grey = luma(rgb);
        for (int c = 0; c < 3; c++) rgb[c] = blend(grey, rgb[c], factor);
    }
}

/* Blend with Pillow's ImageFilter.SMOOTH: weights 1 around 5, divided by 13, rounded. The outermost
 * pixels do not change. */
static bird_status sharpen(uint8_t *rgb, size_t height, size_t width, float factor,
                           bird_error *err) {
    size_t stride = 3 * width;
    uint8_t *copy;
    if (height < 3 || width < 3) return BIRD_OK; /* outermost pixels only */
    copy = bird_alloc(height * stride);
    if (!copy) return bird_fail(err, BIRD_NOMEM, "out of memory sharpening an image");
    memcpy(copy, rgb, height * stride);
    for (size_t y = 1; y + 1 < height; y++) {
        const uint8_t *row = copy + y * stride, *up = row - stride, *low = row + stride;
        for (size_t i = 3; i + 3 < stride; i++) {
            int sum = up[i - 3] + up[i] + up[i + 3] + row[i - 3] + 5 * row[i] + row[i + 3] +
                      low[i - 3] + low[i] + low[i + 3];
            rgb[y * stride + i] = blend((2 * sum + 13) / 26, row[i], factor);
        }
    }
    bird_free(copy);
    return BIRD_OK;
}

static void count(uint32_t histogram[3][256], const uint8_t *rgb, size_t n) {
    memset(histogram, 0, 3 * sizeof histogram[0]);
    for (size_t i = 0; i < n; i++, rgb += 3)
        for (int c = 0; c < 3; c++) histogram[c][rgb[c]]++;
}

static void stretch_table(uint8_t table[256], const uint32_t histogram[256]) {
    int low = 0, high = 255;
    while (low < 255 && !histogram[low]) low++;
    while (high > 0 && !histogram[high]) high--;
    for (int v = 0; v < 256; v++) {
        table[v] = (uint8_t)v;
        if (high > low) {
            double scale = 255.0 / (high - low), offset = -low * scale;
            int stretched = (int)(v * scale + offset);
            table[v] = (uint8_t)(stretched < 0 ? 0 : stretched > 255 ? 255 : stretched);
        }
    }
}

static void even_table(uint8_t table[256], const uint32_t histogram[256]) {
    uint64_t total = 0, last = 0, step, before;
    for (int v = 0; v < 256; v++) {
        total += histogram[v];
        if (histogram[v]) last = histogram[v];
    }
    step = (total - last) / 255;
    before = step / 2;
    for (int v = 0; v < 256; v++) {
        uint64_t even = step ? before / step : (uint64_t)v;
        table[v] = (uint8_t)(even > 255 ? 255 : even);
        before += histogram[v];
    }
}

static bird_status check(bird_color_op op, bird_error *err) {
    double low = 0, high = 10; /* factors above 10 leave nothing of an image */
    if (op.kind == BIRD_POSTERIZE) {
        low = 1;
        high = 8;
    }
    if (op.kind == BIRD_SOLARIZE) high = 256;
    /* Negated: NaN must fail too. */
    if (!(op.amount >= low && op.amount <= high))
        return bird_fail(err, BIRD_ARG, "amount of colour change %d must be %g to %g, got %g",
                         (int)op.kind, low, high, op.amount);
    return BIRD_OK;
}

bird_status bird_color_apply(uint8_t *rgb, size_t height, size_t width, bird_color_op op,
                             bird_error *err) {
    size_t n = height * width;
    float factor = (float)op.amount;
    uint8_t table[3][256];
    uint32_t histogram[3][256];
    bird_status status = check(op, err);
    if (status != BIRD_OK) return status;
    switch (op.kind) {
        case BIRD_BRIGHTNESS: blend_flat(rgb, n, 0, factor); break;
        case BIRD_CONTRAST: blend_flat(rgb, n, mean_luma(rgb, n), factor); break;
        case BIRD_SATURATION: saturate(rgb, n, factor); break;
        case BIRD_SHARPNESS: return sharpen(rgb, height, width, factor, err);
        case BIRD_POSTERIZE:
            for (int v = 0; v < 256; v++)
                table[0][v] = (uint8_t)(v & ~((1 << (8 - (int)op.amount)) - 1));
            repeat_table(table);
            look_up(rgb, n, table);
            break;
        case BIRD_SOLARIZE:
            for (int v = 0; v < 256; v++) table[0][v] = (uint8_t)(v < op.amount ? v : 255 - v);
            repeat_table(table);
            look_up(rgb, n, table);
            break;
        case BIRD_AUTOCONTRAST:
        case BIRD_EQUALIZE:
            count(histogram, rgb, n);
            for (int c = 0; c < 3; c++)
                (op.kind == BIRD_EQUALIZE ? even_table : stretch_table)(table[c], histogram[c]);
            look_up(rgb, n, table);
            break;
        case BIRD_COLOR_KINDS: return bird_fail(err, BIRD_ARG, "unknown colour change");
    }
    return BIRD_OK;
}
