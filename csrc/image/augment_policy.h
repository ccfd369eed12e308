/* Augmentation of training images: a view is drawn from a stream of random numbers (as plain data
 * that can be inspected and tested), then computed. */
#ifndef BIRD_IMAGE_AUGMENT_POLICY_H
#define BIRD_IMAGE_AUGMENT_POLICY_H

#include "image/augment_color.h"
#include "image/augment_geometry.h"
#include "image/preprocess.h"

typedef enum bird_policy {
    BIRD_POLICY_NONE,    /* the image as preprocessed for encoding */
    BIRD_POLICY_DEFAULT, /* box of 0.35 to 1 of the area, flip, turn to 20 degrees, brightness
                            0.6-1.4, contrast 0.7-1.3, saturation 0.6-1.4, each uniform */
    BIRD_POLICY_TURNED,  /* the same, with a quarter of the images rotated by 90 degrees */
    BIRD_POLICY_ROBUST,  /* turned, with brightness 0.4-1.6 */
    BIRD_POLICY_STRONG   /* the same box and flip, TrivialAugment (Mueller and Hutter 2021),
                            and for a quarter of the images random erasing (Zhong 2017) */
} bird_policy;

enum { BIRD_MAX_COLOR_OPS = 3 };

typedef struct bird_view {
    bird_geometry geometry;
    int n_ops;
    bird_color_op ops[BIRD_MAX_COLOR_OPS];                 /* in this order, after geometry */
    size_t erase_x, erase_y, erase_width, erase_height; /* set to the mean; 0 wide: none */
} bird_view;

/* Draw a view of size x size pixels with `policy` (not BIRD_POLICY_NONE) for an image of the given
 * height and width. */
bird_view bird_view_draw(bird_policy policy, size_t height, size_t width, size_t size,
                         bird_rng *rng);

/* Write rgb (size, size, 3), the view before normalising and erasing. */
bird_status bird_view_render(uint8_t *rgb, const bird_image *image, const bird_view *view,
                             size_t size, bird_filter filter, bird_error *err);

/* Write dst (3, size, size), the view, with cfg->size and cfg->filter, normalised as in
 * bird_preprocess_image; fit and crop of cfg are not used. A view of the whole image without
 * changes is bit-for-bit the same as squash in bird_preprocess_image. */
bird_status bird_view_apply(float *dst, const bird_image *image, const bird_view *view,
                            const bird_preprocess *cfg, bird_error *err);

#endif
