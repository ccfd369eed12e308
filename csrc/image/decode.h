/* Decode a JPEG, PNG, GIF (first frame) or BMP to an upright RGB image. */
#ifndef BIRD_IMAGE_DECODE_H
#define BIRD_IMAGE_DECODE_H

#include "image/image.h"

/* Decode, blend transparency with white, and rotate upright as EXIF says. 16-bit samples keep their
 * high byte. On success the caller deinits *image; on failure it is empty. BIRD_FORMAT: damaged,
 * truncated or not an image; BIRD_UNSUPPORTED: possibly valid, but needs another decoder. */
bird_status bird_decode(bird_image *image, const uint8_t *data, size_t size, bird_error *err);

/* Blend n RGBA pixels with white, in place or into other memory: round(c * a / 255 + 255 - a),
 * exact for all values (the same as Pillow's alpha_composite and paste). */
void bird_on_white(uint8_t *rgb, const uint8_t *rgba, size_t n);

/* Convert pixels (height, width, channels) with 1, 3 or 4 channels to an RGB image: grey is
 * repeated, transparency is blended with white. Otherwise like bird_decode. */
bird_status bird_image_from_array(bird_image *image, const uint8_t *pixels, size_t height,
                                  size_t width, int channels, bird_error *err);

#endif
