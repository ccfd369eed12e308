/* How the operations of csrc/nn put themselves into a plan. Compute thread only. */
#ifndef BIRD_NN_PLAN_BUILD_H
#define BIRD_NN_PLAN_BUILD_H

#include "nn/engine.h"
#include "nn/plan.h"

typedef struct bird_arg {
    int name; /* DNNL_ARG_... */
    bird_value value;
} bird_arg;

enum { BIRD_MAX_ARGS = 12 };

/* The descriptor of a float32 tensor (n, c, h, w), or of so many floats. Owned by the caller. */
bird_status bird_tensor_md(dnnl_memory_desc_t *md, int n, int c, int h, int w,
                           dnnl_format_tag_t tag, bird_error *err);
bird_status bird_floats_md(dnnl_memory_desc_t *md, size_t count, bird_error *err);

/* The same of a tensor shaped as `like` (n, c, h, w), of another type and layout. */
bird_status bird_md_like(dnnl_memory_desc_t *md, const bird_plan *plan, bird_value like,
                         dnnl_data_type_t type, dnnl_format_tag_t tag, bird_error *err);

/* How many OpenMP threads its steps run on. */
int bird_plan_threads(const bird_plan *plan);

/* A tensor in the slab, alive from its first to its last step. `md` is copied. */
bird_status bird_plan_value(bird_plan *plan, bird_value *value, const_dnnl_memory_desc_t md,
                            bird_error *err);

/* The same of so many floats. */
bird_status bird_plan_scratch(bird_plan *plan, bird_value *value, size_t count, bird_error *err);

/* A tensor outside the slab: a constant, or an input or output to bind before executing.
 * `data` is borrowed and outlives the plan or the binding; NULL until bound. */
bird_status bird_plan_external(bird_plan *plan, bird_value *value, const_dnnl_memory_desc_t md,
                               void *data, bird_error *err);

/* A number of four bytes (float or int32_t) that the plan keeps: a scale or a zero point. */
bird_status bird_plan_constant(bird_plan *plan, bird_value *value, dnnl_data_type_t type,
                               const void *number, bird_error *err);

/* The descriptor of a value; borrowed from the plan. */
const_dnnl_memory_desc_t bird_plan_md(const bird_plan *plan, bird_value value);

/* What a value's numbers are. */
dnnl_data_type_t bird_plan_type(const bird_plan *plan, bird_value value);

/* Append a primitive made from `pd` (borrowed). Its scratchpad, of which the attribute
 * must say user mode, becomes a slab value of this one step. */
bird_status bird_plan_push(bird_plan *plan, const_dnnl_primitive_desc_t pd, int n_args,
                           const bird_arg *args, bird_error *err);

/* An op of our own among oneDNN's: `data` are its values' bytes in the order of the call. */
typedef void (*bird_custom_op)(const void *context, void *const *data, int n_threads);

enum { BIRD_MAX_CONTEXT = 64 };

/* Append one; `context` (size bytes, at most BIRD_MAX_CONTEXT) is copied. */
bird_status bird_plan_push_custom(bird_plan *plan, bird_custom_op run, const void *context,
                                  size_t size, int n_values, const bird_value *values,
                                  bird_error *err);

/* A value with `md`'s layout that holds what `value` holds: `value` itself where the
 * layouts are equal, else a new value and a reorder step. */
bird_status bird_plan_reordered(bird_plan *plan, bird_value *out, bird_value value,
                                const_dnnl_memory_desc_t md, bird_error *err);

/* Append a reorder from one value into another of the same shape. */
bird_status bird_plan_copy(bird_plan *plan, bird_value to, bird_value from, bird_error *err);

/* Run all steps of a plan for one thread on whichever thread this is; see nn/lanes.h. */
bird_status bird_plan_execute_lane(bird_plan *plan, const bird_job *job, bird_error *err);

/* An attribute that says: the scratchpad is the caller's. Owned by the caller. */
bird_status bird_user_scratchpad(dnnl_primitive_attr_t *attr, bird_error *err);

#endif
