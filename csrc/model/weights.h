/* One immutable set of weights, counted, with the folded and packed forms made from it.
 *
 * Whoever changes a model makes a new set; calls in flight finish on the one they hold.
 */
#ifndef BIRD_MODEL_WEIGHTS_H
#define BIRD_MODEL_WEIGHTS_H

#include "model/resnet.h"
#include "nn/packed.h"

typedef struct bird_weights bird_weights;

/* An all-zero set for a network of `spec`; the caller holds the first reference and fills
 * it through bird_weights_fill before anyone else sees it. */
bird_status bird_weights_create(bird_weights **weights, const bird_resnet_spec *spec,
                                int num_classes, bird_error *err);

bird_weights *bird_weights_retain(bird_weights *weights);
void bird_weights_release(bird_weights *weights); /* NULL is fine */

/* Borrowed from the set. */
const bird_resnet *bird_weights_net(const bird_weights *weights);
const float *bird_weights_param(const bird_weights *weights, int index);

/* The slab (params.slab_count) to write the parameters to, before the set is shared. */
float *bird_weights_fill(bird_weights *weights);

/* How far each convolution's output, behind residual and ReLU, lies from 0 on images like those to
 * come (n_convs): what int8 needs to know. NULL where it was not given. */
const float *bird_weights_ranges(const bird_weights *weights);

/* Copy the ranges, before the set is shared. */
bird_status bird_weights_set_ranges(bird_weights *weights, const float *ranges, bird_error *err);

/* Folded convolutions for inference, one key a convolution; borrowed. */
bird_packed *bird_weights_packed(const bird_weights *weights);

/* out (n, num_classes) = features (n, num_features) times the head. One sum in a fixed order
 * for each entry, so that a row does not depend on the others. BIRD_ARG without a head. */
bird_status bird_weights_head(const bird_weights *weights, float *out, const float *features,
                              size_t n, bird_error *err);

#endif
