/* Reductions over a whole slab, with several threads. */
#ifndef BIRD_TRAIN_REDUCTIONS_H
#define BIRD_TRAIN_REDUCTIONS_H

#include <stdbool.h>

#include "model/params.h"

/* Return the Euclidean norm of the trainable tensors of a gradient slab, summed in double. It does
 * not depend on the number of threads. */
double bird_grad_norm(const float *grads, const bird_params *params, const bool *trainable,
                      int n_threads);

#endif
