/* How far a tensor's numbers lie from 0. */
#ifndef BIRD_NN_OBSERVE_H
#define BIRD_NN_OBSERVE_H

#include "nn/plan.h"

/* Write the largest absolute value of a float32 value, infinity for NaN, to *largest, at every
 * execution. Borrowed; outlives the plan. */
bird_status bird_observe_largest(bird_plan *plan, bird_value value, float *largest,
                                 bird_error *err);

#endif
