/* Measure how far the numbers of a tensor lie from 0. */
#ifndef BIRD_NN_OBSERVE_H
#define BIRD_NN_OBSERVE_H

#include "nn/plan.h"

/* Append a step that writes the largest absolute value of a float32 value to *largest at every
 * execution, or infinity if it contains NaN. `largest` is borrowed and must outlive the plan. */
bird_status bird_observe_largest(bird_plan *plan, bird_value value, float *largest,
                                 bird_error *err);

#endif
