/* A look at a BMP before stb_image sees it: the header, and whether all rows are there. */
#ifndef BIRD_IMAGE_BMP_SCAN_H
#define BIRD_IMAGE_BMP_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED for what is not stb_image's. */
bird_status bird_bmp_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

#endif
