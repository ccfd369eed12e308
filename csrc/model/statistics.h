/* Mean and variance of the output of every convolution, for batch norms with no statistics (a
 * folded model) or with outdated ones. */
#ifndef BIRD_MODEL_STATISTICS_H
#define BIRD_MODEL_STATISTICS_H

#include "base/cancel.h"
#include "model/weights.h"

/* Run pixels (n, 3, size, size) through the network in inference mode, and write the mean and
 * variance (divided by n h w) of the output of each convolution, before its batch norm, to the
 * positions of the running statistics of that batch norm: stats (params.slab_count). */
bird_status bird_conv_statistics(const bird_weights *weights, float *stats, const float *pixels,
                                 int n, int size, int n_threads, bird_cancel *cancel,
                                 bird_error *err);

#endif
