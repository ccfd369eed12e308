/* The samples of an epoch and their order: a pure function of its arguments, so that a resumed run
 * can find its position by counting. */
#ifndef BIRD_DATA_SAMPLER_H
#define BIRD_DATA_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Write to draws (n) a permutation of 0 .. n-1. */
void bird_sampler_shuffled(int64_t *draws, size_t n, uint64_t seed, uint64_t epoch);

/* Write an epoch of n samples to draws (n), in which every class in labels (n), each 0 ..
 * n_classes-1, has the same share (one more for some classes, chosen in each epoch). A sample of a
 * small class occurs several times, the k-th time (from 0) as the number sample + k * n; for a
 * large class each epoch uses other samples. BIRD_ARG for a label out of range. */
bird_status bird_sampler_balanced(int64_t *draws, const int64_t *labels, size_t n,
                                  size_t n_classes, uint64_t seed, uint64_t epoch,
                                  bird_error *err);

#endif
