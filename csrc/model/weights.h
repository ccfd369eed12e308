/* An immutable, reference-counted set of weights, with its folded and packed forms.
 *
 * Changing a model creates a new set; running calls finish with the old one.
 */
#ifndef BIRD_MODEL_WEIGHTS_H
#define BIRD_MODEL_WEIGHTS_H

#include <stdbool.h>

#include "model/resnet.h"
#include "nn/packed.h"

typedef struct bird_weights bird_weights;

/* The numbers of a parameter, in its plain order. */
typedef struct bird_numbers {
    const void *data;
    bool is_float16; /* float16 bits, otherwise float32 */
} bird_numbers;

/* Create an empty set for a network of `spec`. The caller holds the first reference, and must fill
 * the set before it shares it. */
bird_status bird_weights_create(bird_weights **weights, const bird_resnet_spec *spec,
                                int num_classes, bird_error *err);

/* Copy the parameters `given` (params.n) into an empty set. Convolution weights that are float16
 * stay float16, in half the memory; everything else becomes float32. */
bird_status bird_weights_fill(bird_weights *weights, const bird_numbers *given, int n_threads,
                              bird_error *err);

/* The same, from a slab (params.slab_count). */
bird_status bird_weights_fill_slab(bird_weights *weights, const float *slab, int n_threads,
                                   bird_error *err);

bird_weights *bird_weights_retain(bird_weights *weights);
void bird_weights_release(bird_weights *weights); /* NULL is fine */

/* Return the network, borrowed from the set. */
const bird_resnet *bird_weights_net(const bird_weights *weights);

/* Return a parameter that is not a convolution weight, borrowed from the set. */
const float *bird_weights_param(const bird_weights *weights, int index);

/* Copy any parameter to `out` (its count) as float32. */
void bird_weights_read(const bird_weights *weights, int index, float *out);

/* Return all parameters as a slab, borrowed from the set; NULL if some of them are float16. */
const float *bird_weights_slab(const bird_weights *weights);

/* Return the largest absolute output of each convolution (after residual and ReLU) on typical
 * images and, as the last number, of the images themselves: (bird_resnet_n_ranges). int8 needs
 * them. NULL if not set. */
const float *bird_weights_ranges(const bird_weights *weights);

/* Copy the ranges. Call this before the set is shared. */
bird_status bird_weights_set_ranges(bird_weights *weights, const float *ranges, bird_error *err);

/* Return the folded convolutions for inference, one key per convolution; borrowed from the set. */
bird_packed *bird_weights_packed(const bird_weights *weights);

/* Compute out (n, num_classes) = features (n, num_features) times the head. Each entry is one sum
 * in a fixed order, so a row does not depend on the others. Return BIRD_ARG without a head. */
bird_status bird_weights_head(const bird_weights *weights, float *out, const float *features,
                              size_t n, bird_error *err);

#endif
