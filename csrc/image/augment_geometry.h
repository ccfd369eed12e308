/* The geometry of a training view: a box of the image, mirrored and warped. */
#ifndef BIRD_IMAGE_AUGMENT_GEOMETRY_H
#define BIRD_IMAGE_AUGMENT_GEOMETRY_H

#include <stdbool.h>

#include "base/rng.h"
#include "image/image.h"
#include "image/resize.h"

/* The view is computed as if the box were cropped, resized to a square, mirrored, and then warped:
 * the point (dx, dy) right of and below the centre of the view shows the point at matrix * (dx, dy)
 * + shift. But unlike with a real crop, a warp that reaches outside the box shows the rest of the
 * image, and outside the image it shows the image mirrored at its edge. */
typedef struct bird_geometry {
    size_t x, y, width, height; /* the box, inside the image */
    bool flip;                  /* mirror left and right */
    double matrix[4];           /* row-major; identity: no warp */
    double shift[2];            /* in pixels of the view */
} bird_geometry;

/* Return the geometry that shows the whole image, unchanged. */
bird_geometry bird_geometry_whole(size_t height, size_t width);

/* Draw the box: a share of the area uniform in [min_area, 1], width / height with its logarithm
 * uniform in [3/4, 4/3], ten tries, then the largest box of that shape in the centre (the rule
 * of torchvision's RandomResizedCrop). */
void bird_geometry_draw_box(bird_geometry *geometry, size_t height, size_t width,
                            double min_area, bird_rng *rng);

/* Rotate counter-clockwise. */
void bird_geometry_rotate(bird_geometry *geometry, double degrees);

/* dst (size, size, 3) from an image that contains the box, resized with `filter` (with
 * antialiasing if it shrinks); warps are sampled bilinearly. Without a warp the result is
 * bit-for-bit that of bird_resize for the cropped box. BIRD_ARG if the warp reaches too far. */
bird_status bird_geometry_apply(uint8_t *dst, const bird_image *image,
                                const bird_geometry *geometry, size_t size, bird_filter filter,
                                bird_error *err);

#endif
