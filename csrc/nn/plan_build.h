/* How the operations of csrc/nn add their steps to a plan. Compute thread only. */
#ifndef BIRD_NN_PLAN_BUILD_H
#define BIRD_NN_PLAN_BUILD_H

#include "nn/engine.h"
#include "nn/plan.h"

typedef struct bird_arg {
    int name; /* DNNL_ARG_... */
    bird_value value;
} bird_arg;

enum { BIRD_MAX_ARGS = 12 };

/* Create the descriptor of a float32 tensor (n, c, h, w) or of `count` floats; the caller frees
 * it. */
bird_status bird_tensor_md(dnnl_memory_desc_t *md, int n, int c, int h, int w,
                           dnnl_format_tag_t tag, bird_error *err);
bird_status bird_floats_md(dnnl_memory_desc_t *md, size_t count, bird_error *err);

/* Create the descriptor of a tensor with the shape of `like` (n, c, h, w), in another type and
 * layout. The caller frees it. */
bird_status bird_md_like(dnnl_memory_desc_t *md, const bird_plan *plan, bird_value like,
                         dnnl_data_type_t type, dnnl_format_tag_t tag, bird_error *err);

/* Return how many OpenMP threads run the plan's steps. */
int bird_plan_threads(const bird_plan *plan);

/* Add a tensor in the slab, alive from the first to the last step that uses it. `md` is copied. */
bird_status bird_plan_value(bird_plan *plan, bird_value *value, const_dnnl_memory_desc_t md,
                            bird_error *err);

/* Add a tensor of `count` floats in the slab. */
bird_status bird_plan_scratch(bird_plan *plan, bird_value *value, size_t count, bird_error *err);

/* Add a tensor outside the slab: a constant, or an input or output to bind before executing. `data`
 * is borrowed and must outlive the plan or the binding; NULL until bound. */
bird_status bird_plan_external(bird_plan *plan, bird_value *value, const_dnnl_memory_desc_t md,
                               void *data, bird_error *err);

/* Add a scale or zero point: a number of four bytes (float or int32_t), which the plan copies. */
bird_status bird_plan_constant(bird_plan *plan, bird_value *value, dnnl_data_type_t type,
                               const void *number, bird_error *err);

/* Return the descriptor of a value, borrowed from the plan. */
const_dnnl_memory_desc_t bird_plan_md(const bird_plan *plan, bird_value value);

/* Return the data type of a value. */
dnnl_data_type_t bird_plan_type(const bird_plan *plan, bird_value value);

/* Append a primitive made from `pd` (borrowed), whose attribute must say that the user provides the
 * scratchpad. The scratchpad becomes a slab value that only this step uses. */
bird_status bird_plan_push(bird_plan *plan, const_dnnl_primitive_desc_t pd, int n_args,
                           const bird_arg *args, bird_error *err);

/* A custom op, for steps that are not oneDNN's. data[i] points to the bytes of the i-th value that
 * was passed to bird_plan_push_custom. */
typedef void (*bird_custom_op)(const void *context, void *const *data, int n_threads);

enum { BIRD_MAX_CONTEXT = 64 };

/* Append a custom op. `context` (`size` bytes, at most BIRD_MAX_CONTEXT) is copied. */
bird_status bird_plan_push_custom(bird_plan *plan, bird_custom_op run, const void *context,
                                  size_t size, int n_values, const bird_value *values,
                                  bird_error *err);

/* Return a value that has layout `md` and the numbers of `value`. This is `value` itself if the
 * layouts are equal; otherwise a reorder step is appended, or an earlier copy is used. */
bird_status bird_plan_reordered(bird_plan *plan, bird_value *out, bird_value value,
                                const_dnnl_memory_desc_t md, bird_error *err);

/* Append a reorder from one value into another of the same shape. */
bird_status bird_plan_copy(bird_plan *plan, bird_value to, bird_value from, bird_error *err);

/* Run all steps of a one-thread plan on the calling thread; see nn/lanes.h. */
bird_status bird_plan_execute_lane(bird_plan *plan, const bird_job *job, bird_error *err);

/* Create an attribute that says that the user provides the scratchpad. The caller frees it. */
bird_status bird_user_scratchpad(dnnl_primitive_attr_t *attr, bird_error *err);

#endif
