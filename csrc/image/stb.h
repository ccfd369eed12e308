/* The one door to stb_image. Bytes must have passed the scan of their format before. */
#ifndef BIRD_IMAGE_STB_H
#define BIRD_IMAGE_STB_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Decode to (height, width, channels) uint8, channels 3 or 4. The caller owns *pixels and
 * frees them with bird_free. No single block larger than `largest_block` is allocated:
 * compressed data that unfold beyond what the header announced end there. */
bird_status bird_stb_load(uint8_t **pixels, size_t *width, size_t *height, const uint8_t *data,
                          size_t size, int channels, size_t largest_block, bird_error *err);

#endif
