/* A plan: an ordered list of primitives, and one slab that holds all tensors between them.
 *
 * To build a plan, the operations of csrc/nn push their steps and pass values (tensors, by index)
 * to each other. bird_plan_finish then finds the first and last use of each value, lets values that
 * are never needed together share bytes, allocates the slab, and binds the memories. Executing a
 * plan allocates nothing.
 *
 * Compute thread only. plan_build.h is the part that operations use.
 */
#ifndef BIRD_NN_PLAN_H
#define BIRD_NN_PLAN_H

#include <stddef.h>

#include "base/executor.h"

typedef struct bird_plan bird_plan;

/* A tensor of the plan, by index. */
typedef int bird_value;

enum { BIRD_NO_VALUE = -1 };

/* Create a plan whose primitives run on `n_threads` OpenMP threads. */
bird_status bird_plan_create(bird_plan **plan, int n_threads, bird_error *err);

void bird_plan_destroy(bird_plan *plan); /* NULL is fine */

/* Add an input: a float32 tensor (n, c, h, w) in plain NCHW order, outside the slab. Bind it before
 * executing. */
bird_status bird_plan_input(bird_plan *plan, bird_value *value, int n, int c, int h, int w,
                            bird_error *err);

/* Add a float32 vector (c), or convolution weights (oc, ic, kernel, kernel) in plain order, outside
 * the slab. `data` is borrowed and must outlive the plan. */
bird_status bird_plan_vector(bird_plan *plan, bird_value *value, int c, float *data,
                             bird_error *err);
bird_status bird_plan_weights(bird_plan *plan, bird_value *value, int oc, int ic, int kernel,
                              float *data, bird_error *err);

/* Add an output: a slab value with the numbers of `from` as plain float32, (n, c, h, w) or with the
 * channels last (n, h, w, c). It stays readable after executing. */
bird_status bird_plan_output(bird_plan *plan, bird_value *value, bird_value from,
                             bird_error *err);
bird_status bird_plan_output_channels_last(bird_plan *plan, bird_value *value, bird_value from,
                                           bird_error *err);

/* Lay out and allocate the slab. No step may be pushed afterwards. */
bird_status bird_plan_finish(bird_plan *plan, bird_error *err);

/* Point an external value at its data, which is borrowed until the next call for this value. */
bird_status bird_plan_bind(bird_plan *plan, bird_value value, void *data, bird_error *err);

/* Return the bytes of an output, borrowed from the plan. Call it after bird_plan_finish. */
void *bird_plan_data(const bird_plan *plan, bird_value value);

/* Run all steps, with a checkpoint before each one. */
bird_status bird_plan_execute(bird_plan *plan, bird_job *job, bird_error *err);

/* Return the number of steps pushed so far, for bird_plan_execute_range. */
int bird_plan_length(const bird_plan *plan);

/* Run the steps from .. to-1. The contents of the slab are kept between two calls. */
bird_status bird_plan_execute_range(bird_plan *plan, int from, int to, bird_job *job,
                                    bird_error *err);

/* Return the size of the slab in bytes. Call it after bird_plan_finish. */
size_t bird_plan_slab_size(const bird_plan *plan);

#endif
