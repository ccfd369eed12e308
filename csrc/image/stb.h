/* The only interface to stb_image. Call the scan of the format first. */
#ifndef BIRD_IMAGE_STB_H
#define BIRD_IMAGE_STB_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A decoding request. */
typedef struct bird_stb_request {
    int channels;         /* of the result: 3 or 4 */
    size_t largest_block; /* no block larger than this is allocated */
    size_t png_bytes;     /* PNG only: exact size of the decompressed data */
} bird_stb_request;

/* Decode to (height, width, channels) uint8. The caller owns *pixels and frees them with
 * bird_free. */
bird_status bird_stb_load(uint8_t **pixels, size_t *width, size_t *height, const uint8_t *data,
                          size_t size, const bird_stb_request *request, bird_error *err);

#endif
