/* bird_channel_moments for a bfloat16 tensor with its channels last. */
#ifndef BIRD_NN_CHANNEL_MOMENTS_BF16_H
#define BIRD_NN_CHANNEL_MOMENTS_BF16_H

#include "nn/plan.h"

bird_status bird_channel_moments_bf16(bird_plan *plan, bird_value mean, bird_value var,
                                      bird_value src, bird_error *err);

#endif
