/* Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): each sample of a batch is blended with,
 * or partly covered by, the next one (the last one uses the first). A sample keeps the larger
 * share of itself, so that its own class stays the most likely one in its target. */
#ifndef BIRD_DATA_MIX_H
#define BIRD_DATA_MIX_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct bird_mix {
    double mixup, cutmix; /* alpha of Beta(alpha, alpha); 0: off; both: one of them at random */
} bird_mix;

/* Mix pixels (n, 3, size, size) and targets (n, n_classes) in place. The mixing of sample i is
 * drawn from the stream of (seed, epoch, keys[i]); its partner depends on the batch. At least one
 * number in `mix` is above 0. */
bird_status bird_mix_batch(float *pixels, float *targets, const int64_t *keys, size_t n,
                           size_t size, size_t n_classes, bird_mix mix, uint64_t seed,
                           uint64_t epoch, bird_error *err);

#endif
