#include "model/weights.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "model/linear.h"

struct bird_weights {
    atomic_int references;
    bird_resnet *net;    /* owned */
    float *slab;         /* owned (net->params.slab_count) */
    bird_packed *packed; /* owned */
    float *ranges;       /* owned (net->n_convs); may be NULL */
};

/* Fold the batch norm into the convolution: y = (w x - mean) g / sqrt(var + eps) + b.
 * The scale is computed in double: one rounding per weight instead of four. */
static void fold(const void *owner, int key, float *weights, float *bias) {
    const bird_weights *set = owner;
    const bird_conv_bn *conv = &set->net->convs[key];
    const float *plain = bird_weights_param(set, conv->weight); /* (oc, ic, k, k) */
    const float *gamma = bird_weights_param(set, conv->bn);     /* (oc) */
    const float *beta = bird_weights_param(set, conv->bn + 1);  /* (oc) */
    const float *mean = bird_weights_param(set, conv->bn + 2);  /* (oc) */
    const float *var = bird_weights_param(set, conv->bn + 3);   /* (oc) */
    const size_t each = (size_t)conv->ic * (size_t)conv->kernel * (size_t)conv->kernel;

    for (int oc = 0; oc < conv->oc; oc++) {
        double scale = (double)gamma[oc] / sqrt((double)var[oc] + (double)BIRD_BN_EPS);
        if (bias) bias[oc] = (float)((double)beta[oc] - (double)mean[oc] * scale);
        if (!weights) continue;
        const float *from = plain + (size_t)oc * each;
        float *to = weights + (size_t)oc * each;
        for (size_t i = 0; i < each; i++) to[i] = (float)((double)from[i] * scale);
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
    made->slab = bird_calloc(made->net->params.slab_count, sizeof *made->slab);
    if (!made->slab) BIRD_FAIL(BIRD_NOMEM, "out of memory for weights");
    BIRD_TRY(bird_packed_create(&made->packed, made->net->n_convs, fold, made, err));
    *weights = made;
    made = NULL;
cleanup:
    bird_weights_release(made);
    return status;
}

bird_weights *bird_weights_retain(bird_weights *weights) {
    atomic_fetch_add(&weights->references, 1);
    return weights;
}

void bird_weights_release(bird_weights *weights) {
    if (!weights || atomic_fetch_sub(&weights->references, 1) > 1) return;
    bird_packed_destroy(weights->packed);
    bird_free(weights->slab);
    bird_free(weights->ranges);
    bird_resnet_destroy(weights->net);
    bird_free(weights);
}

const bird_resnet *bird_weights_net(const bird_weights *weights) {
    return weights->net;
}

const float *bird_weights_param(const bird_weights *weights, int index) {
    return weights->slab + weights->net->params.items[index].offset;
}

float *bird_weights_fill(bird_weights *weights) {
    return weights->slab;
}

const float *bird_weights_ranges(const bird_weights *weights) {
    return weights->ranges;
}

bird_status bird_weights_set_ranges(bird_weights *weights, const float *ranges, bird_error *err) {
    const size_t size = (size_t)weights->net->n_convs * sizeof *ranges;
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
