/* One network, one batch shape, one number of threads: the steps from pixels to feature map.
 * A batch that gives each thread several images is cut into lanes (nn/lanes.h).
 * Compute thread only, but for destroy. */
#ifndef BIRD_MODEL_INFERENCE_PLAN_H
#define BIRD_MODEL_INFERENCE_PLAN_H

#include "base/executor.h"
#include "model/weights.h"
#include "nn/precision.h"

/* A map of one pixel is the least; the largest keeps every size far below 2^31 bytes. */
enum { BIRD_MIN_SIDE = 32, BIRD_MAX_SIDE = 1024 };

typedef struct bird_inference_key {
    int batch, height, width, n_threads;
    bird_precision precision; /* of activations and weights between pixels and feature map */
    bool observed; /* how far the numbers lie from 0 is written down; float32, batch 1 */
} bird_inference_key;

typedef struct bird_inference_plan bird_inference_plan;

/* `weights` is borrowed and outlives the plan. BIRD_BACKEND where the machine has not the
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

/* The largest absolute value of each convolution's output, behind residual and ReLU (n_convs), in
 * the last run of an observed plan; borrowed from it. */
const float *bird_inference_plan_largest(const bird_inference_plan *plan);

/* Sizes of batches that suit a number of threads, largest first, closed by 1. At most
 * BIRD_N_BATCHES; returns how many. */
enum { BIRD_N_BATCHES = 4 };
int bird_inference_batches(int sizes[BIRD_N_BATCHES], int n_threads);

/* How many threads a key may name: what was asked for, or as many as the system gives. */
int bird_inference_threads(int n_threads);

#endif
