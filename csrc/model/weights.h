/* An immutable, reference-counted set of weights, with its folded and packed forms.
 *
 * Changing a model creates a new set; running calls finish with the old one.
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

/* The largest absolute output of each convolution (after residual and ReLU) on typical images,
 * (n_convs), needed for int8. NULL if it was not set. */
const float *bird_weights_ranges(const bird_weights *weights);

/* Copy the ranges, before the set is shared. */
bird_status bird_weights_set_ranges(bird_weights *weights, const float *ranges, bird_error *err);

/* Folded convolutions for inference, one key per convolution; borrowed. */
bird_packed *bird_weights_packed(const bird_weights *weights);

/* out (n, num_classes) = features (n, num_features) times the head. Each entry is one sum in a
 * fixed order, so a row does not depend on the others. BIRD_ARG without a head. */
bird_status bird_weights_head(const bird_weights *weights, float *out, const float *features,
                              size_t n, bird_error *err);

#endif
