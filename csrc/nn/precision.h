/* The number format of activations between the steps (float32, bfloat16 or, with nn/bytes.h, int8)
 * and their layout.
 *
 * Parameters, biases and features are float32 in every precision; so are, in training, the
 * gradients of parameters and the statistics of batch norms. An operation uses the type of its
 * input.
 */
#ifndef BIRD_NN_PRECISION_H
#define BIRD_NN_PRECISION_H

#include "nn/plan.h"

/* BIRD_INT8 is only for inference. */
typedef enum bird_precision { BIRD_FLOAT32, BIRD_BFLOAT16, BIRD_INT8 } bird_precision;

/* Append a step that converts `from` (n, c, h, w) to that precision and to the layout of training,
 * which inference in bfloat16 also uses. *out is `from` itself if it already has both. */
bird_status bird_in_precision(bird_plan *plan, bird_value *out, bird_value from,
                              bird_precision precision, bird_error *err);

/* Return BIRD_BACKEND if the machine has no instructions for that precision, because oneDNN would
 * then emulate it at a fraction of the speed of float32. `what` names the work in the message:
 * "training". */
bird_status bird_precision_require(bird_precision precision, const char *what, bird_error *err);

#endif
