/* What activations are held in between the steps: float32, bfloat16 or, in
 * nn/bytes.h, int8; and in which layout.
 *
 * Parameters, biases, features and, in training, gradients of parameters and the statistics of
 * batch norms are float32 in either case. An operation takes the type of what it is given.
 */
#ifndef BIRD_NN_PRECISION_H
#define BIRD_NN_PRECISION_H

#include "nn/plan.h"

/* int8 is of inference alone. */
typedef enum bird_precision { BIRD_FLOAT32, BIRD_BFLOAT16, BIRD_INT8 } bird_precision;

/* What `from` (n, c, h, w) holds, in that precision and in training's layout for it, which is
 * bfloat16's in inference as well: `from` itself where that is so already. */
bird_status bird_in_precision(bird_plan *plan, bird_value *out, bird_value from,
                              bird_precision precision, bird_error *err);

/* BIRD_BACKEND where the machine has not that precision of its own: oneDNN would compute in it at a
 * fraction of float32's speed. `what` is not to be done in it: "training". */
bird_status bird_precision_require(bird_precision precision, const char *what, bird_error *err);

#endif
