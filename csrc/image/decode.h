/* Decode a JPEG, PNG, GIF (first frame) or BMP to an upright RGB image. */
#ifndef BIRD_IMAGE_DECODE_H
#define BIRD_IMAGE_DECODE_H

#include "image/image.h"

/* Decode, put transparency on white, and rotate upright by EXIF. 16-bit samples keep their high
 * byte. On success the caller deinits *image; on failure it is empty. BIRD_FORMAT: damaged,
 * truncated or not an image; BIRD_UNSUPPORTED: possibly valid, but needs another decoder. */
bird_status bird_decode(bird_image *image, const uint8_t *data, size_t size, bird_error *err);

/* Put n RGBA pixels on white, in place or to other memory: round(c * a / 255 + 255 - a), exact
 * for all values (the same as Pillow's alpha_composite and paste). */
void bird_on_white(uint8_t *rgb, const uint8_t *rgba, size_t n);

/* Pixels (height, width, channels) of 1, 3 or 4 channels to an RGB image: grey repeated,
 * transparency on white. Otherwise as bird_decode. */
bird_status bird_image_from_array(bird_image *image, const uint8_t *pixels, size_t height,
                                  size_t width, int channels, bird_error *err);

#endif
