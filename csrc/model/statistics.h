/* Mean and variance of every convolution's output, for batch norms that have none of their
 * own yet (a folded model) or stale ones. */
#ifndef BIRD_MODEL_STATISTICS_H
#define BIRD_MODEL_STATISTICS_H

#include "base/cancel.h"
#include "model/weights.h"

/* Run pixels (n, 3, size, size) through the network as inference does, and write the mean and
 * variance (divided by n h w) of each convolution's output, before its batch norm, to where
 * the slab layout has that batch norm's running ones: stats (params.slab_count). */
bird_status bird_conv_statistics(const bird_weights *weights, float *stats, const float *pixels,
                                 int n, int size, int n_threads, bird_cancel *cancel,
                                 bird_error *err);

#endif
