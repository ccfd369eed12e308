/* A walk over the first frame of a GIF before stb_image sees it. */
#ifndef BIRD_IMAGE_GIF_SCAN_H
#define BIRD_IMAGE_GIF_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage (pixels that are missing included), BIRD_UNSUPPORTED for
 * a first frame that leaves part of the image open, where decoders disagree. */
bird_status bird_gif_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err);

#endif
