/* Check the first frame of a GIF before it is passed to stb_image. */
#ifndef BIRD_IMAGE_GIF_SCAN_H
#define BIRD_IMAGE_GIF_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage (including missing pixels), BIRD_UNSUPPORTED for a first
 * frame that does not cover the whole image, because decoders disagree about it. */
bird_status bird_gif_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

#endif
