#include "image/exif.h"

#include <string.h>

#include "base/alloc.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4 };

static uint32_t number(const uint8_t *at, int bytes, int big_endian) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[big_endian ? i : bytes - 1 - i];
    return value;
}

int bird_exif_orientation(const uint8_t *tiff, size_t size) {
    uint32_t offset, entries;
    int big;
    if (!tiff || size < 8) return 1;
    if (memcmp(tiff, "II*\0", 4) == 0)
        big = 0;
    else if (memcmp(tiff, "MM\0*", 4) == 0)
        big = 1;
    else
        return 1;
    offset = number(tiff + 4, 4, big);
    if (offset > size || size - offset < 2) return 1;
    entries = number(tiff + offset, 2, big);
    for (uint32_t i = 0; i < entries; i++) {
        size_t at = (size_t)offset + 2 + (size_t)i * 12;
        uint32_t type, value;
        if (at > size || size - at < 12) return 1;
        if (number(tiff + at, 2, big) != TAG_ORIENTATION) continue;
        type = number(tiff + at + 2, 2, big);
        if (number(tiff + at + 4, 4, big) != 1) return 1;
        if (type == TYPE_SHORT)
            value = number(tiff + at + 8, 2, big);
        else if (type == TYPE_LONG)
            value = number(tiff + at + 8, 4, big);
        else if (type == TYPE_BYTE)
            value = tiff[at + 8];
        else
            return 1;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* Where row 0 / column 0 of the stored image lie in the scene, by orientation:
 *
 *   1 top/left   2 top/right   3 bottom/right   4 bottom/left
 *   5 left/top   6 right/top   7 right/bottom   8 left/bottom
 *
 * So the upright pixel (y, x) is stored at origin + y * step_y + x * step_x. */
typedef struct walk {
    ptrdiff_t origin, step_y, step_x; /* in pixels */
    size_t width, height;             /* upright */
} walk;

static walk walk_of(const bird_image *image, int orientation) {
    ptrdiff_t w = (ptrdiff_t)image->width, h = (ptrdiff_t)image->height;
    ptrdiff_t last_row = (h - 1) * w, last_column = w - 1;
    switch (orientation) {
        case 2: return (walk){last_column, w, -1, image->width, image->height};
        case 3: return (walk){last_row + last_column, -w, -1, image->width, image->height};
        case 4: return (walk){last_row, -w, 1, image->width, image->height};
        case 5: return (walk){0, 1, w, image->height, image->width};
        case 6: return (walk){last_row, 1, -w, image->height, image->width};
        case 7: return (walk){last_row + last_column, -1, -w, image->height, image->width};
        case 8: return (walk){last_column, -1, w, image->height, image->width};
        default: return (walk){0, w, 1, image->width, image->height};
    }
}

bird_status bird_image_orient(bird_image *image, int orientation, bird_error *err) {
    walk way = walk_of(image, orientation);
    uint8_t *upright, *to;
    if (orientation <= 1 || orientation > 8) return BIRD_OK;
    to = upright = bird_alloc(way.width * way.height * 3);
    if (!upright) return bird_fail(err, BIRD_NOMEM, "out of memory rotating an image");
    for (size_t y = 0; y < way.height; y++) {
        const uint8_t *from = image->pixels + 3 * (way.origin + (ptrdiff_t)y * way.step_y);
        for (size_t x = 0; x < way.width; x++, to += 3, from += 3 * way.step_x) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    bird_free(image->pixels);
    image->pixels = upright;
    image->width = way.width;
    image->height = way.height;
    return BIRD_OK;
}
