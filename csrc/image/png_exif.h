/* EXIF orientation of a PNG, from the eXIf chunk, or from the text chunk that older versions of
 * ImageMagick write. */
#ifndef BIRD_IMAGE_PNG_EXIF_H
#define BIRD_IMAGE_PNG_EXIF_H

#include "image/image.h"

/* Store the TIFF structure of an eXIf chunk in *info; some programs start it as in a JPEG. */
void bird_png_exif(bird_image_info *info, const uint8_t *body, size_t length);

/* Store the orientation in *info if a tEXt, zTXt or iTXt chunk contains EXIF; only the first such
 * chunk is used. A damaged chunk, or one that does not fit into memory, is ignored. */
void bird_png_text_exif(bird_image_info *info, const uint8_t *type, const uint8_t *body,
                        size_t length);

#endif
