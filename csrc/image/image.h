/* A decoded image, the limits every decoder keeps, and what a header scan finds out. */
#ifndef BIRD_IMAGE_IMAGE_H
#define BIRD_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The largest phone cameras make 16320 x 12240 = 199.8 million. */
#define BIRD_MAX_PIXELS ((uint64_t)200000000)

/* Working memory one decode may ask for, header arithmetic included. */
#define BIRD_MAX_DECODE_BYTES ((uint64_t)2 << 30)

/* Size of an encoded file; stb_image counts in int. */
#define BIRD_MAX_FILE_BYTES ((size_t)512 << 20)

typedef struct bird_image {
    uint8_t *pixels; /* owned, from bird_alloc: (height, width, 3) RGB */
    size_t width, height;
} bird_image;

/* Release the pixels; a zeroed image is fine. */
void bird_image_deinit(bird_image *image);

/* Let left and right change places. */
void bird_image_mirror(bird_image *image);

/* What stands in a file, as far as decoding needs to know it before it begins. */
typedef struct bird_image_info {
    const char *format; /* "JPEG", "PNG", "GIF" or "BMP" */
    uint64_t width, height;
    int channels;            /* to be asked of stb_image: 3, or 4 where there is alpha */
    bool opaque;             /* the fourth channel is only filling (faster for JPEG) */
    uint64_t decode_bytes;   /* working memory of the decoder at its peak, the result included */
    size_t png_bytes;        /* PNG only: what its compressed data unfold to */
    const uint8_t *exif;     /* borrowed from the file's bytes: TIFF structure, or NULL */
    size_t exif_size;
    int text_orientation;    /* PNG only: of a profile in a text chunk, 1 to 8; 0: there is none */
    /* PNG only: where a palette with fewer colours than the depth can name stands, else 0. */
    size_t short_palette;
} bird_image_info;

/* BIRD_OK where width and height keep the limit of pixels; otherwise the message names it. To be
 * called before anything is reckoned with them. */
bird_status bird_image_check_pixels(const bird_image_info *info, bird_error *err);

/* The same for decode_bytes. To be called before anything of that size is allocated. */
bird_status bird_image_check_memory(const bird_image_info *info, bird_error *err);

#endif
