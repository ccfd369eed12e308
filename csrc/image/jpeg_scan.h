/* A walk over the whole of a JPEG before stb_image sees it.
 *
 * stb_image takes what it gets: it fills what is missing with zeros or with whatever lay in
 * memory, and trusts table sizes. The walk follows markers, tables and entropy-coded data
 * (see jpeg_entropy.h) to the end marker, so that a file cut short or damaged is told from a
 * sound one, and leaves to other decoders what stb_image gets wrong: 12 bits, arithmetic
 * coding, lossless, four components without an Adobe marker.
 */
#ifndef BIRD_IMAGE_JPEG_SCAN_H
#define BIRD_IMAGE_JPEG_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED for what is not stb_image's. */
bird_status bird_jpeg_scan(bird_image_info *info, const uint8_t *data, size_t size,
                           bird_error *err);

#endif
