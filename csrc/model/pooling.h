/* Reduce a feature map to a vector. */
#ifndef BIRD_MODEL_POOLING_H
#define BIRD_MODEL_POOLING_H

#include <stddef.h>

typedef enum bird_pooling {
    BIRD_POOL_AVERAGE, /* mean over the pixels */
    BIRD_POOL_GEM      /* generalised mean (Radenovic et al. 2018): mean(x^3)^(1/3), x >= 1e-6 */
} bird_pooling;

/* Write dst (c) from the feature map src (pixels, c) of one image, in the order of the pixels. */
void bird_pool_features(float *dst, const float *src, size_t pixels, size_t c,
                        bird_pooling pooling);

/* Write dst (c, pixels) = src (pixels, c) transposed. */
void bird_channels_first(float *dst, const float *src, size_t pixels, size_t c);

#endif
