/* Which samples an epoch takes, in which order: a pure function of its arguments, so that a
 * resumed run finds its place by counting. */
#ifndef BIRD_DATA_SAMPLER_H
#define BIRD_DATA_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Write to draws (n) a permutation of 0 .. n-1. */
void bird_sampler_shuffled(int64_t *draws, size_t n, uint64_t seed, uint64_t epoch);

/* Write to draws (n) an epoch of n in which every class that occurs in labels (n), each 0 ..
 * n_classes-1, has the same share (one more for some, chosen anew each epoch). A sample of a
 * small class comes several times, its k-th time (from 0) as the number sample + k * n; of a
 * large class each epoch takes other samples. BIRD_ARG for a label out of range. */
bird_status bird_sampler_balanced(int64_t *draws, const int64_t *labels, size_t n,
                                  size_t n_classes, uint64_t seed, uint64_t epoch,
                                  bird_error *err);

#endif
