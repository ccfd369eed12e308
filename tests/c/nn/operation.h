/* Run operations of a training plan, forward and backward, as small plans, and compare them with
 * plain loops. The numbers are small integers, whose sums are exact in float32: every kernel must
 * give exactly the same result, in bfloat16 the exact sum rounded once. Only batch norm divides,
 * and has a tolerance. */
#ifndef BIRD_TESTS_NN_OPERATION_H
#define BIRD_TESTS_NN_OPERATION_H

#include <math.h>

#include "base/alloc.h"
#include "check.h"
#include "nn/plan_build.h"
#include "numbers.h"

typedef struct shape {
    int n, c, h, w;
} shape;

static inline size_t count_of(shape s) {
    return (size_t)s.n * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

enum { MAX_TENSORS = 3 };

/* Operations that run as one plan, from inputs to outputs in plain order. */
typedef struct graph {
    bird_status (*push)(const struct graph *asked, bird_plan *plan, const bird_value *in,
                        bird_value *out, bird_error *err);
    const void *op; /* the operation, for `push` */
    int n_in, n_out;
    shape in_shapes[MAX_TENSORS];
    const float *in[MAX_TENSORS];
    float *out[MAX_TENSORS]; /* in the order of the `out` of push */
    size_t out_counts[MAX_TENSORS];
    float *vectors[6]; /* external values of the operation */
} graph;

static inline bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    graph *asked = context;
    bird_plan *plan = NULL;
    bird_value external[MAX_TENSORS], in[MAX_TENSORS], out[MAX_TENSORS];
    float *copies[MAX_TENSORS] = {0}; /* some operations overwrite their input */

    BIRD_TRY(bird_plan_create(&plan, 2, err));
    for (int i = 0; i < asked->n_in; i++) {
        const shape s = asked->in_shapes[i];
        copies[i] = bird_alloc(count_of(s) * sizeof(float));
        memcpy(copies[i], asked->in[i], count_of(s) * sizeof(float));
        BIRD_TRY(bird_plan_input(plan, &external[i], s.n, s.c, s.h, s.w, err));
        BIRD_TRY(bird_in_precision(plan, &in[i], external[i], precision, err));
    }
    BIRD_TRY(asked->push(asked, plan, in, out, err));
    for (int i = 0; i < asked->n_out; i++)
        if (asked->out[i]) BIRD_TRY(bird_plan_output(plan, &out[i], out[i], err));
    BIRD_TRY(bird_plan_finish(plan, err));
    for (int i = 0; i < asked->n_in; i++)
        BIRD_TRY(bird_plan_bind(plan, external[i], copies[i], err));
    BIRD_TRY(bird_plan_execute(plan, job, err));
    for (int i = 0; i < asked->n_out; i++)
        if (asked->out[i])
            memcpy(asked->out[i], bird_plan_data(plan, out[i]),
                   asked->out_counts[i] * sizeof(float));
cleanup:
    for (int i = 0; i < MAX_TENSORS; i++) bird_free(copies[i]);
    bird_plan_destroy(plan);
    return status;
}

static inline void compare(const char *what, const void *found, const void *expected, size_t count,
                           float tolerance) {
    const float *a = found, *b = expected;
    const float relative = precision == BIRD_BFLOAT16 && tolerance > 0 ? 0x1p-8f : 0;
    size_t wrong = 0, first = 0;
    for (size_t i = count; i-- > 0;)
        if (!(fabsf(a[i] - b[i]) <= tolerance + relative * fabsf(b[i]))) {
            wrong++;
            first = i;
        }
    if (wrong == 0) return;
    fprintf(stderr, "%s%s: %s: %zu of %zu are wrong, first %zu: %g, not %g\n", bird_isa_name(),
            precision_label(), what, wrong, count, first,
            (double)a[first], (double)b[first]);
    check_failures++;
}

/* Indices into `vectors`, for batch norm and the ends of blocks. */
enum { SCALE, SHIFT, MEAN, VAR, DIFF_SCALE, DIFF_SHIFT };

#endif
