/* One network, one batch shape, one number of threads: the steps from pixels to feature map.
 * A batch that gives each thread several images is cut into lanes (nn/lanes.h).
 * Compute thread only, but for destroy. */
#ifndef BIRD_MODEL_INFERENCE_PLAN_H
#define BIRD_MODEL_INFERENCE_PLAN_H

#include "base/executor.h"
#include "model/weights.h"
#include "nn/precision.h"

/* The smallest gives a map of one pixel; the largest keeps every size far below 2^31 bytes. */
enum { BIRD_MIN_SIDE = 32, BIRD_MAX_SIDE = 1024 };

typedef struct bird_inference_key {
    int batch, height, width, n_threads;
    bird_precision precision; /* of activations and weights between pixels and feature map */
    bool observed; /* record the largest absolute values; float32, batch 1 */
} bird_inference_key;

typedef struct bird_inference_plan bird_inference_plan;

/* `weights` is borrowed and outlives the plan. BIRD_BACKEND if the machine does not support the
 * precision. */
bird_status bird_inference_plan_create(bird_inference_plan **plan, const bird_weights *weights,
                                       bird_inference_key key, bird_error *err);

void bird_inference_plan_destroy(bird_inference_plan *plan); /* NULL is fine */

bool bird_inference_plan_fits(const bird_inference_plan *plan, bird_inference_key key);

/* Bytes of its slab. */
size_t bird_inference_plan_size(const bird_inference_plan *plan);

/* Run pixels (batch, 3, height, width) through the network. */
bird_status bird_inference_plan_run(bird_inference_plan *plan, const float *pixels, bird_job *job,
                                    bird_error *err);

/* The feature map (h, w, num_features) of one image of the batch; borrowed from the plan
 * until its next run. */
const float *bird_inference_plan_map(const bird_inference_plan *plan, int image);

/* The largest absolute output of each convolution (after residual and ReLU), (n_convs), in the last
 * run of an observed plan; borrowed from it. */
const float *bird_inference_plan_largest(const bird_inference_plan *plan);

/* Good batch sizes for a number of threads, largest first; the last one is 1. Returns their
 * number, at most BIRD_N_BATCHES. */
enum { BIRD_N_BATCHES = 4 };
int bird_inference_batches(int sizes[BIRD_N_BATCHES], int n_threads);

/* The number of threads for a key: the requested number, or as many as the system provides. */
int bird_inference_threads(int n_threads);

#endif
