/* A small matrix product with a fixed order of summation.
 *
 * The last bits of oneDNN's inner product depend on the batch and the number of threads. Heads and
 * projections are small enough for a plain loop, whose results do not.
 */
#ifndef BIRD_MODEL_LINEAR_H
#define BIRD_MODEL_LINEAR_H

#include <stddef.h>

/* Compute dst (n, oc) = src (n, ic) times weights (oc, ic) transposed, plus bias (oc) unless it is
 * NULL. */
void bird_linear(float *dst, const float *src, const float *weights, const float *bias, size_t n,
                 size_t ic, size_t oc);

/* Compute the gradients of bird_linear from diff_dst (n, oc), and overwrite diff_src (n, ic),
 * diff_weights (oc, ic) and diff_bias (oc). */
void bird_linear_backward(float *diff_src, float *diff_weights, float *diff_bias,
                          const float *diff_dst, const float *src, const float *weights, size_t n,
                          size_t ic, size_t oc);

#endif
