/* Where each pixel of a training view comes from: a box of the image, mirrored, warped. */
#ifndef BIRD_IMAGE_AUGMENT_GEOMETRY_H
#define BIRD_IMAGE_AUGMENT_GEOMETRY_H

#include <stdbool.h>

#include "base/rng.h"
#include "image/image.h"
#include "image/resize.h"

/* The view is as if the box were cut out, resized to a square, mirrored, then warped: a point
 * (dx, dy) right of and below the centre of the view shows what was at matrix * (dx, dy) +
 * shift. Other than in that order of work, what a warp brings in from beyond the box is the
 * image's own; beyond the image it is the image mirrored at its edge. */
typedef struct bird_geometry {
    size_t x, y, width, height; /* the box, inside the image */
    bool flip;                  /* left and right */
    double matrix[4];           /* row by row; identity: no warp */
    double shift[2];            /* in pixels of the view */
} bird_geometry;

/* The whole of an image, as it is. */
bird_geometry bird_geometry_whole(size_t height, size_t width);

/* Draw the box: a share of the area uniform in [min_area, 1], width / height with its logarithm
 * uniform in [3/4, 4/3], ten tries, then the largest box of that shape in the centre (the rule
 * of torchvision's RandomResizedCrop). */
void bird_geometry_draw_box(bird_geometry *geometry, size_t height, size_t width,
                            double min_area, bird_rng *rng);

/* Turn counter-clockwise. */
void bird_geometry_rotate(bird_geometry *geometry, double degrees);

/* dst (size, size, 3) from an image in which the box lies, resized with `filter` (and
 * antialiasing where that shrinks); warps are sampled bilinearly. Without a warp the result is
 * bird_resize's of the cut-out box, to the bit. BIRD_ARG where the warp is beyond reason. */
bird_status bird_geometry_apply(uint8_t *dst, const bird_image *image,
                                const bird_geometry *geometry, size_t size, bird_filter filter,
                                bird_error *err);

#endif
