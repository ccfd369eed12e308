/* Operations of a training plan, forward and backward, run as small plans and compared with plain
 * loops. Small integers, whose sums float32 holds exactly: every kernel must give exactly the same,
 * in bfloat16 that sum rounded once. Only batch norm divides, and is held to a tolerance. */
#ifndef BIRD_TESTS_NN_OPERATION_H
#define BIRD_TESTS_NN_OPERATION_H

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "nn/isa.h"
#include "nn/plan_build.h"
#include "nn/training_tensor.h"

static unsigned random_state = 1;
static bird_precision precision = BIRD_FLOAT32; /* of what is tested */

/* The nearest number that a tensor of this precision can hold, ties to even. */
static inline float rounded(float value) {
    uint32_t bits;
    if (precision == BIRD_FLOAT32) return value;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Integers -4 .. 4, or numbers between -4 and 4. */
static inline float *numbers(size_t n, bool whole) {
    float *values = bird_alloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        values[i] = whole ? (float)((int)(random_state >> 24) % 9 - 4)
                          : rounded((float)(random_state >> 8) / (float)(1 << 21) - 4.0f);
    }
    return values;
}

static inline float *integers(size_t n) {
    return numbers(n, true);
}

typedef struct shape {
    int n, c, h, w;
} shape;

static inline size_t count_of(shape s) {
    return (size_t)s.n * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

enum { MAX_TENSORS = 3 };

/* Operations to run as one plan, from inputs to outputs in plain order. */
typedef struct graph {
    bird_status (*push)(const struct graph *asked, bird_plan *plan, const bird_value *in,
                        bird_value *out, bird_error *err);
    const void *op; /* what `push` knows it to be */
    int n_in, n_out;
    shape in_shapes[MAX_TENSORS];
    const float *in[MAX_TENSORS];
    float *out[MAX_TENSORS]; /* in the order of `out` of push */
    size_t out_counts[MAX_TENSORS];
    float *vectors[6]; /* external values of the operation */
} graph;

static inline bird_status execute(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    graph *asked = context;
    bird_plan *plan = NULL;
    bird_value external[MAX_TENSORS], in[MAX_TENSORS], out[MAX_TENSORS];
    float *copies[MAX_TENSORS] = {0}; /* some operations write where they read */

    BIRD_TRY(bird_plan_create(&plan, 2, err));
    for (int i = 0; i < asked->n_in; i++) {
        const shape s = asked->in_shapes[i];
        copies[i] = bird_alloc(count_of(s) * sizeof(float));
        memcpy(copies[i], asked->in[i], count_of(s) * sizeof(float));
        BIRD_TRY(bird_plan_input(plan, &external[i], s.n, s.c, s.h, s.w, err));
        BIRD_TRY(bird_training_tensor(plan, &in[i], external[i], precision, err));
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
            precision == BIRD_BFLOAT16 ? " bfloat16" : "", what, wrong, count, first,
            (double)a[first], (double)b[first]);
    check_failures++;
}

/* Which of `vectors` is what, for batch norm and the ends of blocks. */
enum { SCALE, SHIFT, MEAN, VAR, DIFF_SCALE, DIFF_SHIFT };

/* Run tests in float32, and once more in bfloat16 where the machine has it. Returns the failures. */
static inline int in_both_precisions(void (*test)(void)) {
    test();
    if (bird_isa_has_bf16()) {
        precision = BIRD_BFLOAT16;
        test();
    }
    return check_failures;
}

#endif
