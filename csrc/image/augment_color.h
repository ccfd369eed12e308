/* Changes of colour and tone, bit-for-bit the same as in ImageEnhance and ImageOps of Pillow. */
#ifndef BIRD_IMAGE_AUGMENT_COLOR_H
#define BIRD_IMAGE_AUGMENT_COLOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum bird_color_kind {
    BIRD_BRIGHTNESS,   /* amount: factor, 1 does not change the image; 0 is black */
    BIRD_CONTRAST,     /* factor; 0 is the mean grey */
    BIRD_SATURATION,   /* factor; 0 is grey ("Color" in Pillow) */
    BIRD_SHARPNESS,    /* factor; 0 is smoothed by a 3 x 3 kernel */
    BIRD_POSTERIZE,    /* amount: bits that are kept, 1 to 8 */
    BIRD_SOLARIZE,     /* amount: samples from this value on are inverted; 256: none */
    BIRD_AUTOCONTRAST, /* amount unused: each channel stretched to 0 .. 255 */
    BIRD_EQUALIZE,     /* amount unused: each channel's histogram made even */
    BIRD_COLOR_KINDS   /* how many there are */
} bird_color_kind;

typedef struct bird_color_op {
    bird_color_kind kind;
    double amount;
} bird_color_op;

/* Change rgb (height, width, 3) in place. BIRD_ARG for an amount out of range. */
bird_status bird_color_apply(uint8_t *rgb, size_t height, size_t width, bird_color_op op,
                             bird_error *err);

#endif
