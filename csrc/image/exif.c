#include "image/exif.h"

#include <string.h>

#include "base/alloc.h"

enum { TAG_ORIENTATION = 0x0112 };
/* Types of a number in TIFF. The standard wants a SHORT, but writers use all of them. */
enum { BYTE = 1, SHORT = 3, LONG = 4, SBYTE = 6, UNDEFINED = 7, SSHORT = 8, SLONG = 9, IFD = 13 };

static uint32_t number(const uint8_t *at, int bytes, int big_endian) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[big_endian ? i : bytes - 1 - i];
    return value;
}

/* Return the size of a whole number of a type, 0 for another type. */
static size_t bytes_of(uint32_t type) {
    switch (type) {
        case BYTE: case SBYTE: case UNDEFINED: return 1;
        case SHORT: case SSHORT: return 2;
        case LONG: case SLONG: case IFD: return 4;
        default: return 0;
    }
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
        uint32_t type, count, value;
        size_t bytes;
        if (at > size || size - at < 12) return 1;
        if (number(tiff + at, 2, big) != TAG_ORIENTATION) continue;
        type = number(tiff + at + 2, 2, big);
        count = number(tiff + at + 4, 4, big);
        bytes = bytes_of(type);
        /* The first of several numbers counts, but several bytes are a text. */
        if (bytes == 0 || count == 0) return 1;
        if ((type == BYTE || type == UNDEFINED) && count > 1) return 1;
        at += 8;
        if (count > 4 / bytes) at = number(tiff + at, 4, big); /* they are elsewhere */
        if (at > size || (size - at) / bytes < count) return 1;
        value = number(tiff + at, (int)bytes, big);
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
