/* Read the EXIF orientation, and rotate an image upright. Other EXIF data is ignored. */
#ifndef BIRD_IMAGE_EXIF_H
#define BIRD_IMAGE_EXIF_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "image/image.h"

/* Return the orientation (1 to 8) in a TIFF structure (what follows "Exif\0\0" in a JPEG, or the
 * eXIf chunk of a PNG); 1 if it is missing or damaged. `tiff` may be NULL. */
int bird_exif_orientation(const uint8_t *tiff, size_t size);

/* Rotate the image upright, replacing the old pixels; 1 does nothing. */
bird_status bird_image_orient(bird_image *image, int orientation, bird_error *err);

#endif
