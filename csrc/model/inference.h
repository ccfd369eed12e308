/* Forward passes from images to feature maps or pooled features.
 *
 * Any thread may call these functions. Each micro-batch is one job on the compute thread, so other
 * callers can run in between.
 */
#ifndef BIRD_MODEL_INFERENCE_H
#define BIRD_MODEL_INFERENCE_H

#include "base/cancel.h"
#include "model/pooling.h"
#include "model/weights.h"
#include "nn/precision.h"

/* A weight set and its plans. */
typedef struct bird_inference bird_inference;

/* Adds a reference to `weights`. */
bird_status bird_inference_create(bird_inference **inference, bird_weights *weights,
                                  bird_error *err);

/* Must not be called while another thread uses it. NULL is allowed. */
void bird_inference_destroy(bird_inference *inference);

/* Return the side of the feature map for an image side: side / 32, rounded up. */
int bird_inference_map_side(int side);

/* Compute maps (n, num_features, map_side(height), map_side(width)) from pixels (n, 3, height,
 * width), normalised float32. Rows do not depend on n, position or n_threads. `precision` applies
 * up to the feature map, which is then converted to float32. */
bird_status bird_inference_maps(bird_inference *inference, float *maps, const float *pixels,
                                size_t n, int height, int width, bird_precision precision,
                                int n_threads, bird_cancel *cancel, bird_error *err);

/* The same, pooled: features (n, num_features). */
bird_status bird_inference_features(bird_inference *inference, float *features,
                                    const float *pixels, size_t n, int height, int width,
                                    bird_precision precision, bird_pooling pooling, int n_threads,
                                    bird_cancel *cancel, bird_error *err);

/* Write the largest absolute output of each convolution (after residual and ReLU), and of the
 * images, for each image: largest (n, bird_resnet_n_ranges). For bird_weights_set_ranges. */
bird_status bird_inference_largest(bird_inference *inference, float *largest, const float *pixels,
                                   size_t n, int height, int width, int n_threads,
                                   bird_cancel *cancel, bird_error *err);

#endif
