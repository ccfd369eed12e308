/* Build a plan: its values and its steps, in the order of pushing. plan_layout.c places the values
 * in the slab, plan_execute.c runs the steps. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "nn/conv_table.h"
#include "nn/plan_internal.h"
#include "nn/team.h"

bird_status bird_plan_create(bird_plan **plan, int n_threads, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_plan *made = bird_calloc(1, sizeof *made);
    *plan = NULL;
    if (!made) BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan");
    BIRD_TRY(bird_conv_table_check(err));
    BIRD_TRY(bird_engine_get(&made->engine, err));
    made->n_threads = n_threads;
    BIRD_TRY(bird_team_require(n_threads, err));
    bird_engine_set_threads(n_threads);
    *plan = made;
    made = NULL;
cleanup:
    bird_plan_destroy(made);
    return status;
}

void bird_plan_destroy(bird_plan *plan) {
    if (!plan) return;
    for (int i = 0; i < plan->n_steps; i++) dnnl_primitive_destroy(plan->steps[i].primitive);
    for (int i = 0; i < plan->n_values; i++) {
        dnnl_memory_destroy(plan->values[i].memory);
        dnnl_memory_desc_destroy(plan->values[i].md);
        if (plan->values[i].constant) bird_free(plan->values[i].data);
    }
    bird_free(plan->steps);
    bird_free(plan->values);
    bird_free(plan->slab);
    bird_free(plan);
}

/* Make room for one more item in an array. Capacities double. */
static bird_status grow(void **items, int count, int *capacity, size_t size, bird_error *err) {
    int larger = *capacity ? *capacity * 2 : 64;
    void *grown;
    if (count < *capacity) return BIRD_OK;
    grown = bird_realloc(*items, (size_t)*capacity * size, (size_t)larger * size);
    if (!grown) return bird_fail(err, BIRD_NOMEM, "out of memory for a plan's steps");
    *items = grown;
    *capacity = larger;
    return BIRD_OK;
}

static bird_status add_value(bird_plan *plan, bird_value *out, const_dnnl_memory_desc_t md,
                             bool external, void *data, bird_error *err) {
    bird_status status = BIRD_OK;
    plan_value added = {.first = -1, .last = -1, .copy_of = BIRD_NO_VALUE, .external = external,
                        .data = data};
    void *items = plan->values;
    *out = BIRD_NO_VALUE;
    status = grow(&items, plan->n_values, &plan->values_capacity, sizeof added, err);
    plan->values = items;
    BIRD_TRY(status);
    BIRD_DNNL(dnnl_memory_desc_clone(&added.md, md));
    added.size = dnnl_memory_desc_get_size(md);
    plan->values[plan->n_values] = added;
    *out = plan->n_values++;
cleanup:
    return status;
}

bird_status bird_plan_value(bird_plan *plan, bird_value *out, const_dnnl_memory_desc_t md,
                            bird_error *err) {
    return add_value(plan, out, md, false, NULL, err);
}

bird_status bird_plan_external(bird_plan *plan, bird_value *out, const_dnnl_memory_desc_t md,
                               void *data, bird_error *err) {
    return add_value(plan, out, md, true, data, err);
}

bird_status bird_plan_constant(bird_plan *plan, bird_value *out, dnnl_data_type_t type,
                               const void *number, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dims_t dims = {1};
    dnnl_memory_desc_t md = NULL;
    void *own = bird_alloc(sizeof(float));

    *out = BIRD_NO_VALUE;
    if (!own) BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan");
    memcpy(own, number, sizeof(float));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, 1, dims, type, dnnl_x));
    BIRD_TRY(bird_plan_external(plan, out, md, own, err));
    plan->values[*out].constant = true;
    own = NULL;
cleanup:
    bird_free(own);
    dnnl_memory_desc_destroy(md);
    return status;
}

const_dnnl_memory_desc_t bird_plan_md(const bird_plan *plan, bird_value of) {
    return plan->values[of].md;
}

dnnl_data_type_t bird_plan_type(const bird_plan *plan, bird_value of) {
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_memory_desc_query(plan->values[of].md, dnnl_query_data_type, &type);
    return type;
}

static void touch(bird_plan *plan, bird_value used) {
    plan_value *touched = &plan->values[used];
    if (touched->first < 0) touched->first = plan->n_steps;
    if (touched->last < plan->n_steps) touched->last = plan->n_steps;
}

/* Record that a step writes to `written`: it is no longer a copy, nor is any value a copy of it. */
static void forget_copies(bird_plan *plan, bird_value written) {
    plan->values[written].copy_of = BIRD_NO_VALUE;
    for (int i = 0; i < plan->n_values; i++)
        if (plan->values[i].copy_of == written) plan->values[i].copy_of = BIRD_NO_VALUE;
}

/* Return a value that already holds `from` in that layout, or BIRD_NO_VALUE. External values are
 * copied anew each time: keeping their copies alive would cost more than making them. */
static bird_value find_copy(const bird_plan *plan, bird_value from, const_dnnl_memory_desc_t md) {
    for (int i = 0; i < plan->n_values && !plan->values[from].external; i++)
        if (plan->values[i].copy_of == from && dnnl_memory_desc_equal(plan->values[i].md, md))
            return i;
    return BIRD_NO_VALUE;
}

bird_status bird_plan_push(bird_plan *plan, const_dnnl_primitive_desc_t pd, int n_args,
                           const bird_arg *args, bird_error *err) {
    bird_status status = BIRD_OK;
    plan_step added = {.n_args = n_args};
    const_dnnl_memory_desc_t scratchpad =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    void *items = plan->steps;

    if (n_args + 1 > BIRD_MAX_ARGS) BIRD_FAIL(BIRD_ARG, "a step has at most %d arguments, got %d",
                                              BIRD_MAX_ARGS - 1, n_args);
    status = grow(&items, plan->n_steps, &plan->steps_capacity, sizeof added, err);
    plan->steps = items;
    BIRD_TRY(status);
    memcpy(added.args, args, (size_t)n_args * sizeof *args);
    if (dnnl_memory_desc_get_size(scratchpad) > 0) {
        bird_arg *scratch = &added.args[added.n_args++];
        scratch->name = DNNL_ARG_SCRATCHPAD;
        BIRD_TRY(bird_plan_value(plan, &scratch->value, scratchpad, err));
    }
    BIRD_DNNL(dnnl_primitive_create(&added.primitive, pd));
    for (int i = 0; i < added.n_args; i++) {
        touch(plan, added.args[i].value);
        if (added.args[i].name == DNNL_ARG_DST || added.args[i].name == DNNL_ARG_DIFF_SRC)
            forget_copies(plan, added.args[i].value);
    }
    plan->steps[plan->n_steps++] = added;
cleanup:
    return status;
}

bird_status bird_plan_push_custom(bird_plan *plan, bird_custom_op run, const void *context,
                                  size_t size, int n_values, const bird_value *values,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    plan_step added = {.custom = run, .n_args = n_values};
    void *items = plan->steps;

    if (n_values > BIRD_MAX_ARGS || size > sizeof added.context)
        BIRD_FAIL(BIRD_ARG, "a step has at most %d values and %d bytes of context", BIRD_MAX_ARGS,
                  BIRD_MAX_CONTEXT);
    status = grow(&items, plan->n_steps, &plan->steps_capacity, sizeof added, err);
    plan->steps = items;
    BIRD_TRY(status);
    memcpy(added.context, context, size);
    for (int i = 0; i < n_values; i++) {
        added.args[i].value = values[i];
        touch(plan, values[i]);
        forget_copies(plan, values[i]); /* we do not know which ones it writes */
    }
    plan->steps[plan->n_steps++] = added;
cleanup:
    return status;
}

bird_status bird_plan_copy(bird_plan *plan, bird_value to, bird_value from, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_engine_t engine = plan->engine->engine;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;

    BIRD_TRY(bird_user_scratchpad(&attr, err));
    BIRD_DNNL(dnnl_reorder_primitive_desc_create(&pd, bird_plan_md(plan, from), engine,
                                                 bird_plan_md(plan, to), engine, attr));
    const bird_arg args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    BIRD_TRY(bird_plan_push(plan, pd, 2, args, err));
cleanup:
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

bird_status bird_plan_reordered(bird_plan *plan, bird_value *out, bird_value from,
                                const_dnnl_memory_desc_t md, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value to = from;

    *out = BIRD_NO_VALUE;
    if (!dnnl_memory_desc_equal(bird_plan_md(plan, from), md)) {
        to = find_copy(plan, from, md);
        if (to == BIRD_NO_VALUE) {
            BIRD_TRY(bird_plan_value(plan, &to, md, err));
            BIRD_TRY(bird_plan_copy(plan, to, from, err));
            plan->values[to].copy_of = from;
        }
    }
    *out = to;
cleanup:
    return status;
}

bird_status bird_user_scratchpad(dnnl_primitive_attr_t *attr, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_primitive_attr_t made = NULL;
    *attr = NULL;
    BIRD_DNNL(dnnl_primitive_attr_create(&made));
    BIRD_DNNL(dnnl_primitive_attr_set_scratchpad_mode(made, dnnl_scratchpad_mode_user));
    *attr = made;
    made = NULL;
cleanup:
    dnnl_primitive_attr_destroy(made);
    return status;
}

bird_status bird_tensor_md(dnnl_memory_desc_t *md, int n, int c, int h, int w,
                           dnnl_format_tag_t tag, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dims_t dims = {n, c, h, w};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(md, 4, dims, dnnl_f32, tag));
cleanup:
    return status;
}

bird_status bird_floats_md(dnnl_memory_desc_t *md, size_t count, bird_error *err) {
    bird_status status = BIRD_OK;
    const dnnl_dims_t dims = {(dnnl_dim_t)count};
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(md, 1, dims, dnnl_f32, dnnl_x));
cleanup:
    return status;
}

bird_status bird_md_like(dnnl_memory_desc_t *md, const bird_plan *plan, bird_value like,
                         dnnl_data_type_t type, dnnl_format_tag_t tag, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_dims_t *dims = NULL;
    BIRD_DNNL(dnnl_memory_desc_query(bird_plan_md(plan, like), dnnl_query_dims, &dims));
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(md, 4, *dims, type, tag));
cleanup:
    return status;
}

bird_status bird_plan_scratch(bird_plan *plan, bird_value *value, size_t count, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    BIRD_TRY(bird_floats_md(&md, count, err));
    BIRD_TRY(bird_plan_value(plan, value, md, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

int bird_plan_threads(const bird_plan *plan) {
    return plan->n_threads;
}

static bird_status plain_external(bird_plan *plan, bird_value *out, int ndim,
                                  const dnnl_dims_t dims, dnnl_format_tag_t tag, void *data,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    *out = BIRD_NO_VALUE;
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&md, ndim, dims, dnnl_f32, tag));
    BIRD_TRY(bird_plan_external(plan, out, md, data, err));
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

bird_status bird_plan_input(bird_plan *plan, bird_value *out, int n, int c, int h, int w,
                            bird_error *err) {
    const dnnl_dims_t dims = {n, c, h, w};
    return plain_external(plan, out, 4, dims, dnnl_nchw, NULL, err);
}

bird_status bird_plan_vector(bird_plan *plan, bird_value *out, int c, float *data,
                             bird_error *err) {
    const dnnl_dims_t dims = {c};
    return plain_external(plan, out, 1, dims, dnnl_x, data, err);
}

bird_status bird_plan_weights(bird_plan *plan, bird_value *out, int oc, int ic, int kernel,
                              float *data, bird_error *err) {
    const dnnl_dims_t dims = {oc, ic, kernel, kernel};
    return plain_external(plan, out, 4, dims, dnnl_oihw, data, err);
}

static bird_status output(bird_plan *plan, bird_value *out, bird_value from,
                          dnnl_format_tag_t tag, bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_memory_desc_t md = NULL;
    *out = BIRD_NO_VALUE;
    BIRD_TRY(bird_md_like(&md, plan, from, dnnl_f32, tag, err));
    BIRD_TRY(bird_plan_reordered(plan, out, from, md, err));
    plan->values[*out].last = INT32_MAX; /* the caller reads it after the last step */
cleanup:
    dnnl_memory_desc_destroy(md);
    return status;
}

bird_status bird_plan_output(bird_plan *plan, bird_value *out, bird_value from,
                             bird_error *err) {
    return output(plan, out, from, dnnl_nchw, err);
}

bird_status bird_plan_output_channels_last(bird_plan *plan, bird_value *out, bird_value from,
                                           bird_error *err) {
    return output(plan, out, from, dnnl_nhwc, err);
}

