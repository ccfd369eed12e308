/* Check the chunks of a PNG before it is passed to stb_image: lengths, CRCs, order, header. */
#ifndef BIRD_IMAGE_PNG_SCAN_H
#define BIRD_IMAGE_PNG_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED if stb_image cannot decode it. */
bird_status bird_png_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

/* Return a copy of the file with the palette extended to 256 colours with black, because stb_image
 * reads missing colours of a short palette from uninitialised memory. The caller owns *copy
 * (bird_free). `info` is from bird_png_scan, with short_palette > 0. */
bird_status bird_png_fill_palette(uint8_t **copy, size_t *copy_size, const uint8_t *data,
                                  size_t size, const bird_image_info *info, bird_error *err);

#endif
