/* Check a BMP before it is passed to stb_image: the header, and that all rows exist. */
#ifndef BIRD_IMAGE_BMP_SCAN_H
#define BIRD_IMAGE_BMP_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED if stb_image cannot decode it. */
bird_status bird_bmp_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

#endif
