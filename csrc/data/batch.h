/* Training images: decode them once (the caller keeps them), then make batches of augmented
 * views. */
#ifndef BIRD_DATA_BATCH_H
#define BIRD_DATA_BATCH_H

#include "base/cancel.h"
#include "image/augment_policy.h"
#include "image/prepare.h"

/* Decode n sources on up to n_threads threads into images (n), which the caller deinits. An
 * image whose short side is above short_side (0: no limit) is reduced to it, antialiased
 * bilinearly. outcomes[i].code is BIRD_OK, or the reason why images[i] is empty. Returns BIRD_OK
 * for any outcomes, or BIRD_CANCELLED. */
bird_status bird_batch_load(bird_image *images, bird_error *outcomes, const bird_source *sources,
                            size_t n, size_t short_side, int n_threads, bird_cancel *cancel,
                            bird_error *err);

/* Fill pixels (n, 3, size, size) with views of images (n). The view of image i depends only on the
 * stream of (seed, epoch, keys[i]), not on its position in the batch or the number of threads. For
 * BIRD_POLICY_NONE the view is that of bird_preprocess_image. Returns the first failure. */
bird_status bird_batch_fill(float *pixels, const bird_image *images, const int64_t *keys,
                            size_t n, bird_policy policy, const bird_preprocess *cfg,
                            uint64_t seed, uint64_t epoch, int n_threads, bird_cancel *cancel,
                            bird_error *err);

#endif
