/* A decoded image, the limits of all decoders, and the result of a header scan. */
#ifndef BIRD_IMAGE_IMAGE_H
#define BIRD_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The largest phone cameras produce 16320 x 12240 = 199.8 million pixels. */
#define BIRD_MAX_PIXELS ((uint64_t)200000000)

/* Maximum working memory of a decoder, computed from the header. */
#define BIRD_MAX_DECODE_BYTES ((uint64_t)2 << 30)

/* Maximum size of an encoded file; stb_image uses int for sizes. */
#define BIRD_MAX_FILE_BYTES ((size_t)512 << 20)

typedef struct bird_image {
    uint8_t *pixels; /* owned, from bird_alloc: (height, width, 3) RGB */
    size_t width, height;
} bird_image;

/* Free the pixels; a zeroed image is allowed. */
void bird_image_deinit(bird_image *image);

/* Mirror the image horizontally. */
void bird_image_mirror(bird_image *image);

/* The properties of a file that are needed before decoding. */
typedef struct bird_image_info {
    const char *format; /* "JPEG", "PNG", "GIF" or "BMP" */
    uint64_t width, height;
    int channels;            /* to request from stb_image: 3, or 4 with alpha */
    bool opaque;             /* the fourth channel has no meaning (faster for JPEG) */
    uint64_t decode_bytes;   /* peak working memory of the decoder, including the result */
    size_t png_bytes;        /* PNG only: size of its decompressed data */
    const uint8_t *exif;     /* borrowed from the file's bytes: TIFF structure, or NULL */
    size_t exif_size;
    int text_orientation;    /* PNG only: from a profile in a text chunk, 1 to 8; 0: none */
    /* PNG only: position of a palette with fewer colours than the depth allows, else 0. */
    size_t short_palette;
} bird_image_info;

/* Return BIRD_OK if width and height are within the limit of pixels; otherwise the message says so.
 * Call this before computing with them. */
bird_status bird_image_check_pixels(const bird_image_info *info, bird_error *err);

/* The same for decode_bytes. Call this before allocating that amount. */
bird_status bird_image_check_memory(const bird_image_info *info, bird_error *err);

#endif
