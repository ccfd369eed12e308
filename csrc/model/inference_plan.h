/* A plan for one network, batch shape and number of threads: the steps from pixels to feature map.
 * A batch with several images per thread is divided into lanes (nn/lanes.h). Compute thread only,
 * except bird_inference_plan_destroy. */
#ifndef BIRD_MODEL_INFERENCE_PLAN_H
#define BIRD_MODEL_INFERENCE_PLAN_H

#include "base/executor.h"
#include "model/weights.h"
#include "nn/precision.h"

/* The smallest side gives a map of one pixel; the largest keeps every size far below 2^31 bytes. */
enum { BIRD_MIN_SIDE = 32, BIRD_MAX_SIDE = 1024 };

typedef struct bird_inference_key {
    int batch, height, width, n_threads;
    bird_precision precision; /* of activations and weights between pixels and feature map */
    bool observed; /* record the largest absolute values; float32, batch 1 */
} bird_inference_key;

typedef struct bird_inference_plan bird_inference_plan;

/* Create a plan. `weights` is borrowed and must outlive it. Return BIRD_BACKEND if the machine does
 * not support the precision. */
bird_status bird_inference_plan_create(bird_inference_plan **plan, const bird_weights *weights,
                                       bird_inference_key key, bird_error *err);

void bird_inference_plan_destroy(bird_inference_plan *plan); /* NULL is fine */

bool bird_inference_plan_fits(const bird_inference_plan *plan, bird_inference_key key);

/* Return the size of its slabs in bytes. */
size_t bird_inference_plan_size(const bird_inference_plan *plan);

/* Run pixels (batch, 3, height, width) through the network. */
bird_status bird_inference_plan_run(bird_inference_plan *plan, const float *pixels, bird_job *job,
                                    bird_error *err);

/* Return the feature map (h, w, num_features) of one image of the batch, borrowed from the plan
 * until its next run. */
const float *bird_inference_plan_map(const bird_inference_plan *plan, int image);

/* Return the largest absolute output of each convolution (after residual and ReLU), and of the
 * images, (bird_resnet_n_ranges), in the last run of an observed plan. Borrowed from the plan. */
const float *bird_inference_plan_largest(const bird_inference_plan *plan);

/* Write good batch sizes for a number of threads, largest first; the last one is 1. Return how many
 * there are, at most BIRD_N_BATCHES. */
enum { BIRD_N_BATCHES = 4 };
int bird_inference_batches(int sizes[BIRD_N_BATCHES], int n_threads);

/* Return the number of threads for a key: `n_threads`, or as many as the system provides. */
int bird_inference_threads(int n_threads);

#endif
