/* A plan: primitives in order, and one slab that holds every tensor between them.
 *
 * Building: the operations of csrc/nn push their steps and hand on values (tensors, by
 * index); then bird_plan_finish works out from first and last use which values may share
 * bytes, allocates the one slab, and binds the memories. Executing allocates nothing.
 *
 * Compute thread only. plan_build.h is the side that operations see.
 */
#ifndef BIRD_NN_PLAN_H
#define BIRD_NN_PLAN_H

#include <stddef.h>

#include "base/executor.h"

typedef struct bird_plan bird_plan;

/* A tensor of the plan, by index. */
typedef int bird_value;

enum { BIRD_NO_VALUE = -1 };

/* A plan whose primitives run on `n_threads` OpenMP threads. */
bird_status bird_plan_create(bird_plan **plan, int n_threads, bird_error *err);

void bird_plan_destroy(bird_plan *plan); /* NULL is fine */

/* A float32 tensor (n, c, h, w) in plain NCHW order outside the slab, to be bound before
 * executing: an input. */
bird_status bird_plan_input(bird_plan *plan, bird_value *value, int n, int c, int h, int w,
                            bird_error *err);

/* A float32 vector (c), or convolution weights (oc, ic, kernel, kernel) in plain order, at
 * `data` outside the slab; borrowed, outlives the plan. */
bird_status bird_plan_vector(bird_plan *plan, bird_value *value, int c, float *data,
                             bird_error *err);
bird_status bird_plan_weights(bird_plan *plan, bird_value *value, int oc, int ic, int kernel,
                              float *data, bird_error *err);

/* A slab value that holds what `from` holds as plain float32, (n, c, h, w) or with the channels
 * last (n, h, w, c), and stays readable after executing: an output. */
bird_status bird_plan_output(bird_plan *plan, bird_value *value, bird_value from,
                             bird_error *err);
bird_status bird_plan_output_channels_last(bird_plan *plan, bird_value *value, bird_value from,
                                           bird_error *err);

/* Lay out and allocate the slab. Nothing can be pushed afterwards. */
bird_status bird_plan_finish(bird_plan *plan, bird_error *err);

/* Point an external value at its data; borrowed until the next binding. */
bird_status bird_plan_bind(bird_plan *plan, bird_value value, void *data, bird_error *err);

/* The bytes of an output, after finish; borrowed from the plan. */
void *bird_plan_data(const bird_plan *plan, bird_value value);

/* Run all steps, with a checkpoint before each. */
bird_status bird_plan_execute(bird_plan *plan, bird_job *job, bird_error *err);

/* Steps pushed so far: a place to stop at and go on from. */
int bird_plan_length(const bird_plan *plan);

/* Run steps from .. to-1. What the slab holds between two calls stays. */
bird_status bird_plan_execute_range(bird_plan *plan, int from, int to, bird_job *job,
                                    bird_error *err);

/* Size of the slab in bytes, after finish. */
size_t bird_plan_slab_size(const bird_plan *plan);

#endif
