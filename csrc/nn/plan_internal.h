/* The structs of a plan, for the files that build, lay out and execute it. Only nn/plan*.c may
 * include this file. */
#ifndef BIRD_NN_PLAN_INTERNAL_H
#define BIRD_NN_PLAN_INTERNAL_H

#include <stdbool.h>

#include "nn/plan_build.h"

typedef struct plan_value {
    dnnl_memory_desc_t md; /* owned */
    dnnl_memory_t memory;  /* owned; made by finish */
    void *data;            /* external: borrowed; else inside the slab, set by finish */
    size_t size, offset;   /* bytes; offset into the slab */
    int first, last;       /* first and last step that uses it; -1: unused */
    bird_value copy_of;    /* same numbers in another layout, until either is written */
    bool external;
    bool constant;         /* external, and the plan owns its data */
} plan_value;

typedef struct plan_step {
    dnnl_primitive_t primitive;             /* owned; NULL: a custom op */
    bird_custom_op custom;
    _Alignas(16) char context[BIRD_MAX_CONTEXT]; /* for custom */
    int n_args;
    bird_arg args[BIRD_MAX_ARGS];
    dnnl_exec_arg_t bound[BIRD_MAX_ARGS];   /* memories borrowed from the values */
} plan_step;

struct bird_plan {
    const bird_engine *engine; /* borrowed: process-wide */
    plan_value *values;        /* owned (n_values) */
    int n_values, values_capacity;
    plan_step *steps;          /* owned (n_steps) */
    int n_steps, steps_capacity;
    void *slab; /* owned */
    size_t slab_size;
    int n_threads; /* fixed in the primitives: creation and execution must agree */
};

#endif
