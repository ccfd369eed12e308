/* EXIF orientation of a PNG: of its own chunk, or of the text chunk that ImageMagick wrote before
 * there was one. */
#ifndef BIRD_IMAGE_PNG_EXIF_H
#define BIRD_IMAGE_PNG_EXIF_H

#include "image/image.h"

/* Note the TIFF structure of an eXIf chunk in *info; some writers begin it as in a JPEG. */
void bird_png_exif(bird_image_info *info, const uint8_t *body, size_t length);

/* Note the orientation in *info if a tEXt, zTXt or iTXt chunk holds EXIF; only the first such chunk
 * is looked into. One that is damaged, or no memory for it, is as if it were not there. */
void bird_png_text_exif(bird_image_info *info, const uint8_t *type, const uint8_t *body,
                        size_t length);

#endif
