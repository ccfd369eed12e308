#include "image/preprocess.h"

#include <math.h>

#include "base/alloc.h"

/* The network halves the size five times. Above this size, a batch of 8 exceeds a gigabyte of
 * pixels. */
enum { MAX_SIZE = 8192 };

bird_status bird_preprocess_check(const bird_preprocess *cfg, bird_error *err) {
    if (cfg->size < 1 || cfg->size > MAX_SIZE)
        return bird_fail(err, BIRD_ARG, "size must be 1 to %d, got %d", MAX_SIZE, cfg->size);
    /* Negated: NaN must fail too. */
    if (!(cfg->crop_pct > 0 && cfg->crop_pct <= 1) || cfg->size / cfg->crop_pct > 2 * MAX_SIZE)
        return bird_fail(err, BIRD_ARG, "crop_pct must be above 0 and at most 1, got %g",
                         cfg->crop_pct);
    for (int c = 0; c < 3; c++)
        if (!isfinite(cfg->mean[c]) || !isfinite(cfg->std[c]) || !(cfg->std[c] > 0))
            return bird_fail(err, BIRD_ARG,
                             "mean must be finite and std above 0, got mean %g and std %g",
                             (double)cfg->mean[c], (double)cfg->std[c]);
    return BIRD_OK;
}

/* Return where a window of `size` begins on a side of `whole`: Python's round(d / 2), half to
 * even. */
static size_t crop_offset(size_t whole, size_t size) {
    size_t d = whole - size;
    return d / 2 + (d % 2 == 1 && d / 2 % 2 == 1);
}

/* Compute the sizes after resizing, by torchvision's rules. */
static void fitted_size(size_t *height, size_t *width, const bird_image *image,
                        const bird_preprocess *cfg) {
    size_t side = (size_t)floor(cfg->size / cfg->crop_pct);
    *height = *width = side;
    if (cfg->fit == BIRD_SQUASH) return;
    if (image->width <= image->height)
        *height = (size_t)((double)(side * image->height) / (double)image->width);
    else
        *width = (size_t)((double)(side * image->width) / (double)image->height);
}

static void normalise(float *dst, const uint8_t *rgb, const bird_preprocess *cfg) {
    size_t n = (size_t)cfg->size * (size_t)cfg->size;
    for (int c = 0; c < 3; c++) {
        /* 256 samples have only 256 results, so each division is done only once. */
        float values[256];
        float *plane = dst + (size_t)c * n;
        for (int i = 0; i < 256; i++)
            values[i] = ((float)i / 255.0f - cfg->mean[c]) / cfg->std[c];
        for (size_t i = 0; i < n; i++) plane[i] = values[rgb[3 * i + (size_t)c]];
    }
}

bird_status bird_preprocess_image(float *dst, const bird_image *image, const bird_preprocess *cfg,
                                  bird_error *err) {
    bird_status status;
    size_t size = (size_t)cfg->size, height, width;
    bird_window window;
    uint8_t *rgb;

    fitted_size(&height, &width, image, cfg);
    window = (bird_window){crop_offset(width, size), crop_offset(height, size), size, size};
    if (height == image->height && width == image->width && height == size && width == size) {
        normalise(dst, image->pixels, cfg);
        return BIRD_OK;
    }
    rgb = bird_alloc(size * size * 3);
    if (!rgb) return bird_fail(err, BIRD_NOMEM, "out of memory preparing an image");
    status = bird_resize(rgb, image->pixels, image->height, image->width, height, width, window,
                         cfg->filter, err);
    if (status == BIRD_OK) normalise(dst, rgb, cfg);
    bird_free(rgb);
    return status;
}
