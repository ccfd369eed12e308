/* How training holds activations and their gradients between the steps: type and layout.
 *
 * Parameters, their gradients and the statistics of batch norms are float32 in either case.
 * The operations of training take the type of what they are given.
 */
#ifndef BIRD_NN_TRAINING_TENSOR_H
#define BIRD_NN_TRAINING_TENSOR_H

#include "nn/plan.h"

typedef enum bird_precision { BIRD_FLOAT32, BIRD_BFLOAT16 } bird_precision;

/* What `from` (n, c, h, w) holds, as training holds it in that precision: `from` itself where
 * that is so already. */
bird_status bird_training_tensor(bird_plan *plan, bird_value *out, bird_value from,
                                 bird_precision precision, bird_error *err);

#endif
