/* Mean and variance of each channel, for batch norm. */
#ifndef BIRD_NN_CHANNEL_MOMENTS_H
#define BIRD_NN_CHANNEL_MOMENTS_H

#include "nn/plan.h"

/* Push a step that writes src's mean and variance (divided by n h w) over each channel to the
 * external values `mean`, `var` (c). The same bits whatever the number of threads. */
bird_status bird_channel_moments(bird_plan *plan, bird_value mean, bird_value var, bird_value src,
                                 bird_error *err);

#endif
