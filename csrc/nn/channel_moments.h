/* Mean and variance of each channel, for batch norm. */
#ifndef BIRD_NN_CHANNEL_MOMENTS_H
#define BIRD_NN_CHANNEL_MOMENTS_H

#include "nn/plan.h"

/* Append a step that writes mean and variance (divided by n h w) of each channel of src to the
 * external values `mean` and `var` (c). The bits do not depend on the number of threads. */
bird_status bird_channel_moments(bird_plan *plan, bird_value mean, bird_value var, bird_value src,
                                 bird_error *err);

#endif
