/* The number format of activations between the steps (float32, bfloat16 or, with nn/bytes.h,
 * int8) and their layout.
 *
 * Parameters, biases, features and, in training, gradients of parameters and the statistics of
 * batch norms are float32 in either case. An operation takes the type of what it is given.
 */
#ifndef BIRD_NN_PRECISION_H
#define BIRD_NN_PRECISION_H

#include "nn/plan.h"

/* int8 is of inference alone. */
typedef enum bird_precision { BIRD_FLOAT32, BIRD_BFLOAT16, BIRD_INT8 } bird_precision;

/* Convert `from` (n, c, h, w) to that precision and to the layout of training, which inference has
 * in bfloat16 too. *out is `from` itself if it has both already. */
bird_status bird_in_precision(bird_plan *plan, bird_value *out, bird_value from,
                              bird_precision precision, bird_error *err);

/* BIRD_BACKEND if the machine has no instructions for that precision: oneDNN would compute in it at
 * a fraction of float32's speed. `what` names the work in the message: "training". */
bird_status bird_precision_require(bird_precision precision, const char *what, bird_error *err);

#endif
