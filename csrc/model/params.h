/* The parameter table of a network, and the layout of its slabs.
 *
 * Weights, gradients and optimizer moments are slabs of this layout, so an operation on all
 * parameters is one flat loop.
 */
#ifndef BIRD_MODEL_PARAMS_H
#define BIRD_MODEL_PARAMS_H

#include <stddef.h>

#include "base/status.h"

enum { BIRD_NAME_SIZE = 64 };

typedef enum bird_param_kind {
    BIRD_CONV_WEIGHT,  /* (oc, ic, kh, kw) */
    BIRD_BN_WEIGHT,    /* (c) */
    BIRD_BN_BIAS,      /* (c) */
    BIRD_BN_MEAN,      /* (c), a running statistic: not trained */
    BIRD_BN_VAR,       /* (c), a running statistic: not trained */
    BIRD_LINEAR_WEIGHT, /* (out, in) */
    BIRD_LINEAR_BIAS   /* (out) */
} bird_param_kind;

typedef struct bird_param {
    char name[BIRD_NAME_SIZE]; /* torchvision's or timm's key, e.g. layer1.0.conv1.weight */
    bird_param_kind kind;
    int ndim;
    size_t dims[4];
    size_t count;  /* product of dims */
    size_t offset; /* into the slab, in floats; a multiple of 16 (one cache line) */
} bird_param;

typedef struct bird_params {
    bird_param *items; /* owned (n), in state_dict order */
    int n, capacity;
    size_t slab_count; /* floats in a slab, padding between tensors included */
} bird_params;

/* Initialise an empty table in the storage of the caller. */
void bird_params_init(bird_params *params);
void bird_params_deinit(bird_params *params);

/* Append an entry and return its index; unused dims are 0. */
bird_status bird_params_add(bird_params *params, int *index, bird_param_kind kind,
                            const size_t dims[4], bird_error *err, const char *name_format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
