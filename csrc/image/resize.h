/* Antialiased resize of uint8 RGB, bit-for-bit the same as in Pillow 13: filter weights are rounded
 * to fixed point; there is one pass over columns and one over rows, each rounded to 8 bits.
 */
#ifndef BIRD_IMAGE_RESIZE_H
#define BIRD_IMAGE_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum bird_filter { BIRD_BILINEAR, BIRD_BICUBIC } bird_filter;

/* A part of the resized image: columns x .. x+width-1, rows y .. y+height-1. */
typedef struct bird_window {
    size_t x, y, width, height;
} bird_window;

/* Resize src (src_height, src_width, 3) to height x width and write the part `window` of it to
 * dst (window.height, window.width, 3): the same pixels as cropping afterwards, without
 * computing the rest. Sizes are at least 1, `window` is inside; dst and src must not overlap. */
bird_status bird_resize(uint8_t *dst, const uint8_t *src, size_t src_height, size_t src_width,
                        size_t height, size_t width, bird_window window, bird_filter filter,
                        bird_error *err);

#endif
