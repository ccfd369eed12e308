/* Check a whole JPEG before it is passed to stb_image.
 *
 * stb_image accepts invalid files: it fills missing data with zeros or uninitialised
 * memory, and trusts table sizes. This check follows markers, tables and entropy-coded data
 * (see jpeg_entropy.h) to the end marker, to detect truncated and damaged files, and leaves
 * files that stb_image decodes wrongly to other decoders: 12 bits, arithmetic coding,
 * lossless, four components without an Adobe marker.
 */
#ifndef BIRD_IMAGE_JPEG_SCAN_H
#define BIRD_IMAGE_JPEG_SCAN_H

#include "image/image.h"

/* Fill *info; BIRD_FORMAT for damage, BIRD_UNSUPPORTED if stb_image cannot decode it. */
bird_status bird_jpeg_scan(bird_image_info *info, const uint8_t *data, size_t size,
                           bird_error *err);

#endif
