/* The weights of convolutions of our own, for nn/conv_winograd.c and nn/conv_split.c. */
#ifndef BIRD_NN_CONV_TRANSFORMED_H
#define BIRD_NN_CONV_TRANSFORMED_H

#include "nn/conv.h"
#include "nn/packed_build.h"

/* Add weights in the form that `transform` makes (`count` floats), and the bias, as values of a
 * plan. They are entry `key` of `packed`. */
bird_status bird_conv_transformed(bird_plan *plan, bird_value *weights, bird_value *bias,
                                  const bird_conv *conv, size_t count,
                                  bird_weights_transform transform, bird_packed *packed, int key,
                                  bird_error *err);

#endif
