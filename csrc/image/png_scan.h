/* A walk over the chunks of a PNG before stb_image sees it: lengths, CRCs, order, header. */
#ifndef BIRD_IMAGE_PNG_SCAN_H
#define BIRD_IMAGE_PNG_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED for what is not stb_image's. */
bird_status bird_png_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

/* A copy of the file with the palette filled up to 256 colours with black. stb_image takes
 * colours that a short palette lacks from uninitialised memory. The caller owns *copy
 * (bird_free). `info` from bird_png_scan, with short_palette > 0. */
bird_status bird_png_fill_palette(uint8_t **copy, size_t *copy_size, const uint8_t *data,
                                  size_t size, const bird_image_info *info, bird_error *err);

#endif
