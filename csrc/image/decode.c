#include "image/decode.h"

#include <string.h>

#include "base/alloc.h"
#include "image/bmp_scan.h"
#include "image/exif.h"
#include "image/gif_scan.h"
#include "image/jpeg_scan.h"
#include "image/png_scan.h"
#include "image/stb.h"

typedef struct format {
    const char *magic;
    size_t magic_size;
    bird_status (*scan)(bird_image_info *info, const uint8_t *data, size_t size,
                        bird_error *err);
} format;

static const format formats[] = {
    {"\xFF\xD8", 2, bird_jpeg_scan},
    {"\x89PNG\r\n\x1A\n", 8, bird_png_scan},
    {"GIF87a", 6, bird_gif_scan},
    {"GIF89a", 6, bird_gif_scan},
    {"BM", 2, bird_bmp_scan},
};

static bird_status scan(bird_image_info *info, const uint8_t *data, size_t size,
                        bird_error *err) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (size >= formats[i].magic_size &&
            memcmp(data, formats[i].magic, formats[i].magic_size) == 0)
            return formats[i].scan(info, data, size, err);
    return bird_fail(err, BIRD_UNSUPPORTED, "not a JPEG, PNG, GIF or BMP");
}

void bird_on_white(uint8_t *rgb, const uint8_t *rgba, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t alpha = rgba[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            /* x / 255, rounded; exact below 65536 */
            uint32_t x = (255u - rgba[4 * i + c]) * alpha + 128;
            rgb[3 * i + c] = (uint8_t)(255 - ((x + (x >> 8)) >> 8));
        }
    }
}

/* Reduce four channels to three in place. The block keeps its size, because it is freed soon. */
static void drop_alpha(bird_image *image, const bird_image_info *info) {
    uint8_t *pixels = image->pixels;
    size_t n = image->width * image->height;
    if (info->channels != 4) return;
    if (!info->opaque) {
        bird_on_white(pixels, pixels, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        /* Copying four bytes is one move; the next pixel overwrites the fourth. */
        uint32_t pixel;
        memcpy(&pixel, pixels + 4 * i, 4);
        memcpy(pixels + 3 * i, &pixel, 4);
    }
}

static bird_status check_bytes(const uint8_t *data, size_t size, bird_error *err) {
    if (!data || size == 0) return bird_fail(err, BIRD_FORMAT, "no data (0 bytes)");
    if (size > BIRD_MAX_FILE_BYTES)
        return bird_fail(err, BIRD_FORMAT, "%zu bytes are more than the limit of %zu MB", size,
                         BIRD_MAX_FILE_BYTES >> 20);
    return BIRD_OK;
}

bird_status bird_decode(bird_image *image, const uint8_t *data, size_t size, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_image_info info = {0};
    bird_image result = {0};
    uint8_t *filled = NULL;
    int orientation;
    bird_stb_request request;

    *image = result;
    BIRD_TRY(check_bytes(data, size, err));
    BIRD_TRY(scan(&info, data, size, err));
    request.channels = info.channels;
    /* stb_image collects PNG data in a buffer that doubles; 64 KB are enough for its own tables. */
    request.largest_block = (size_t)info.decode_bytes + 2 * size + 65536;
    request.png_bytes = info.png_bytes;
    if (info.short_palette > 0)
        BIRD_TRY(bird_png_fill_palette(&filled, &size, data, size, &info, err));
    BIRD_TRY(bird_stb_load(&result.pixels, &result.width, &result.height,
                           filled ? filled : data, size, &request, err));
    drop_alpha(&result, &info);
    orientation = info.exif ? bird_exif_orientation(info.exif, info.exif_size)
                            : info.text_orientation;
    BIRD_TRY(bird_image_orient(&result, orientation, err));
    *image = result;
    result.pixels = NULL;
cleanup:
    bird_free(filled);
    bird_image_deinit(&result);
    return status;
}

bird_status bird_image_from_array(bird_image *image, const uint8_t *pixels, size_t height,
                                  size_t width, int channels, bird_error *err) {
    size_t n;
    *image = (bird_image){0};
    if (channels != 1 && channels != 3 && channels != 4)
        return bird_fail(err, BIRD_SHAPE, "image with %d channels, expected 1, 3 or 4", channels);
    if (width == 0 || height == 0 || width > BIRD_MAX_PIXELS / height)
        return bird_fail(err, BIRD_SHAPE, "image of %zux%zu pixels", width, height);
    n = width * height;
    image->pixels = bird_alloc(n * 3);
    if (!image->pixels) return bird_fail(err, BIRD_NOMEM, "out of memory for an image");
    image->width = width;
    image->height = height;
    if (channels == 3) {
        memcpy(image->pixels, pixels, n * 3);
    } else if (channels == 4) {
        bird_on_white(image->pixels, pixels, n);
    } else {
        for (size_t i = 0; i < n; i++) memset(image->pixels + 3 * i, pixels[i], 3);
    }
    return BIRD_OK;
}
