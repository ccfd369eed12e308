/* A small matrix product with one fixed order of summation.
 *
 * The last bits of the inner product of oneDNN depend on the batch and the number of threads;
 * heads and projections are small enough for a plain loop, whose results do not.
 */
#ifndef BIRD_MODEL_LINEAR_H
#define BIRD_MODEL_LINEAR_H

#include <stddef.h>

/* dst (n, oc) = src (n, ic) times weights (oc, ic) transposed, plus bias (oc) unless NULL. */
void bird_linear(float *dst, const float *src, const float *weights, const float *bias, size_t n,
                 size_t ic, size_t oc);

/* The gradients of that: diff_src (n, ic), diff_weights (oc, ic) and diff_bias (oc), each
 * overwritten, from diff_dst (n, oc). */
void bird_linear_backward(float *diff_src, float *diff_weights, float *diff_bias,
                          const float *diff_dst, const float *src, const float *weights, size_t n,
                          size_t ic, size_t oc);

#endif
