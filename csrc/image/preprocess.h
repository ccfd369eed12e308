/* Convert an RGB image to a normalised float32 slot of a batch. */
#ifndef BIRD_IMAGE_PREPROCESS_H
#define BIRD_IMAGE_PREPROCESS_H

#include "image/image.h"
#include "image/resize.h"

typedef enum bird_fit {
    BIRD_SQUASH,  /* both sides become floor(size / crop_pct) */
    BIRD_SHORTEST /* the short side does; the aspect ratio is kept */
} bird_fit;      /* then the centre of size x size is cropped */

typedef struct bird_preprocess {
    int size;
    bird_fit fit;
    double crop_pct; /* in (0, 1] */
    bird_filter filter;
    float mean[3], std[3]; /* in units of 0 to 1, RGB */
    bool mirrored;         /* prepare the mirror image: a crop need not be symmetric */
} bird_preprocess;

/* Return BIRD_ARG if a field is out of range. */
bird_status bird_preprocess_check(const bird_preprocess *cfg, bird_error *err);

/* Write dst (3, size, size) = (resized and cropped / 255 - mean) / std, each step rounded to
 * float32 as in ToTensor and Normalize of torchvision. */
bird_status bird_preprocess_image(float *dst, const bird_image *image, const bird_preprocess *cfg,
                                  bird_error *err);

#endif
