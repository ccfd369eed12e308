#include "model/weights.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/float16.h"
#include "base/threads.h"
#include "model/linear.h"

/* The position of a parameter. */
typedef struct place {
    size_t offset; /* in `numbers`, in bytes; a multiple of BIRD_ALIGNMENT */
    bool is_float16;
} place;

struct bird_weights {
    atomic_int references;
    bird_resnet *net;    /* owned */
    place *places;       /* owned (net->params.n) */
    char *numbers;       /* owned; NULL before the set is filled */
    bird_packed *packed; /* owned */
    float *ranges;       /* owned (bird_resnet_n_ranges); may be NULL */
};

/* Write `n` numbers of a parameter, from the one at `first` on, as float32. */
static void read_some(const bird_weights *set, int index, size_t first, size_t n, float *out) {
    const place *at = &set->places[index];
    const char *from = set->numbers + at->offset;
    if (at->is_float16)
        bird_widen(out, (const uint16_t *)(const void *)from + first, n);
    else
        memcpy(out, (const float *)(const void *)from + first, n * sizeof *out);
}

/* Fold the batch norm into the convolution: y = (w x - mean) g / sqrt(var + eps) + b.
 * The scale is computed in double: one rounding per weight instead of four. */
static void fold(const void *owner, int key, int first, int n, float *weights, float *bias) {
    const bird_weights *set = owner;
    const bird_conv_bn *conv = &set->net->convs[key];
    const float *gamma = bird_weights_param(set, conv->bn);    /* (oc) */
    const float *beta = bird_weights_param(set, conv->bn + 1); /* (oc) */
    const float *mean = bird_weights_param(set, conv->bn + 2); /* (oc) */
    const float *var = bird_weights_param(set, conv->bn + 3);  /* (oc) */
    const size_t each = (size_t)conv->ic * (size_t)conv->kernel * (size_t)conv->kernel;

    for (int oc = first; oc < first + n; oc++) {
        double scale = (double)gamma[oc] / sqrt((double)var[oc] + (double)BIRD_BN_EPS);
        if (bias) *bias++ = (float)((double)beta[oc] - (double)mean[oc] * scale);
        if (!weights) continue;
        read_some(set, conv->weight, (size_t)oc * each, each, weights); /* (oc, ic, k, k) */
        for (size_t i = 0; i < each; i++) weights[i] = (float)((double)weights[i] * scale);
        weights += each;
    }
}

bird_status bird_weights_create(bird_weights **weights, const bird_resnet_spec *spec,
                                int num_classes, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_weights *made = bird_calloc(1, sizeof *made);

    *weights = NULL;
    if (!made) BIRD_FAIL(BIRD_NOMEM, "out of memory for weights");
    atomic_init(&made->references, 1);
    BIRD_TRY(bird_resnet_create(&made->net, spec, num_classes, err));
    made->places = bird_calloc((size_t)made->net->params.n, sizeof *made->places);
    if (!made->places) BIRD_FAIL(BIRD_NOMEM, "out of memory for weights");
    BIRD_TRY(bird_packed_create(&made->packed, made->net->n_convs, fold, made, err));
    *weights = made;
    made = NULL;
cleanup:
    bird_weights_release(made);
    return status;
}

typedef struct filling {
    const bird_weights *weights; /* borrowed */
    const bird_numbers *given;   /* borrowed */
} filling;

static size_t bytes_of(const bird_param *param, bool is_float16) {
    return param->count * (is_float16 ? sizeof(uint16_t) : sizeof(float));
}

/* Copy one parameter; a bird_item_fn. */
static void fill_one(void *context, size_t item, int thread) {
    const filling *of = context;
    const bird_param *param = &of->weights->net->params.items[item];
    const bird_numbers *given = &of->given[item];
    const place *at = &of->weights->places[item];
    char *to = of->weights->numbers + at->offset;
    const size_t size = bytes_of(param, at->is_float16);
    (void)thread;

    if (given->is_float16 && !at->is_float16)
        bird_widen((float *)(void *)to, given->data, param->count);
    else
        memcpy(to, given->data, size);
    memset(to + size, 0, bird_aligned_size(size) - size); /* padding is read with the slab */
}

bird_status bird_weights_fill(bird_weights *weights, const bird_numbers *given, int n_threads,
                              bird_error *err) {
    const bird_params *params = &weights->net->params;
    filling of = {weights, given};
    size_t size = 0;

    for (int i = 0; i < params->n; i++) {
        const bool kept = given[i].is_float16 && params->items[i].kind == BIRD_CONV_WEIGHT;
        weights->places[i] = (place){size, kept};
        size += bird_aligned_size(bytes_of(&params->items[i], kept));
    }
    weights->numbers = bird_alloc(size);
    if (!weights->numbers) return bird_fail(err, BIRD_NOMEM, "out of memory for weights");
    return bird_parallel_for((size_t)params->n, n_threads, fill_one, &of, NULL, err);
}

bird_status bird_weights_fill_slab(bird_weights *weights, const float *slab, int n_threads,
                                   bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_params *params = &weights->net->params;
    bird_numbers *given = bird_calloc((size_t)params->n, sizeof *given);

    if (!given) BIRD_FAIL(BIRD_NOMEM, "out of memory for weights");
    for (int i = 0; i < params->n; i++) given[i].data = slab + params->items[i].offset;
    BIRD_TRY(bird_weights_fill(weights, given, n_threads, err));
cleanup:
    bird_free(given);
    return status;
}

bird_weights *bird_weights_retain(bird_weights *weights) {
    atomic_fetch_add(&weights->references, 1);
    return weights;
}

void bird_weights_release(bird_weights *weights) {
    if (!weights || atomic_fetch_sub(&weights->references, 1) > 1) return;
    bird_packed_destroy(weights->packed);
    bird_free(weights->numbers);
    bird_free(weights->places);
    bird_free(weights->ranges);
    bird_resnet_destroy(weights->net);
    bird_free(weights);
}

const bird_resnet *bird_weights_net(const bird_weights *weights) {
    return weights->net;
}

const float *bird_weights_param(const bird_weights *weights, int index) {
    return (const float *)(const void *)(weights->numbers + weights->places[index].offset);
}

void bird_weights_read(const bird_weights *weights, int index, float *out) {
    read_some(weights, index, 0, weights->net->params.items[index].count, out);
}

const float *bird_weights_slab(const bird_weights *weights) {
    for (int i = 0; i < weights->net->params.n; i++)
        if (weights->places[i].is_float16) return NULL;
    return bird_weights_param(weights, 0);
}

const float *bird_weights_ranges(const bird_weights *weights) {
    return weights->ranges;
}

bird_status bird_weights_set_ranges(bird_weights *weights, const float *ranges, bird_error *err) {
    const size_t size = (size_t)bird_resnet_n_ranges(weights->net) * sizeof *ranges;
    float *own = bird_alloc(size);
    if (!own) return bird_fail(err, BIRD_NOMEM, "out of memory for weights");
    memcpy(own, ranges, size);
    bird_free(weights->ranges);
    weights->ranges = own;
    return BIRD_OK;
}

bird_packed *bird_weights_packed(const bird_weights *weights) {
    return weights->packed;
}

bird_status bird_weights_head(const bird_weights *weights, float *out, const float *features,
                              size_t n, bird_error *err) {
    const bird_resnet *net = weights->net;
    if (net->num_classes == 0)
        return bird_fail(err, BIRD_ARG, "this model has no classifier; load a model with one, "
                                        "or add one with reset_classifier");
    bird_linear(out, features, bird_weights_param(weights, net->head_weight),
                bird_weights_param(weights, net->head_bias), n, (size_t)net->num_features,
                (size_t)net->num_classes);
    return BIRD_OK;
}
