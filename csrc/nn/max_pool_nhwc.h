/* Max pooling that also converts from the layout of the first convolution to that of the others.
 *
 * On AVX-512 the first convolution writes channels in blocks of 16 (nChw16c), and the convolutions
 * after the pool read channels last (nhwc). oneDNN pools without changing the layout, so a reorder
 * would have to follow, which takes longer than the pool.
 */
#ifndef BIRD_NN_MAX_POOL_NHWC_H
#define BIRD_NN_MAX_POOL_NHWC_H

#include <stdbool.h>

#include "nn/plan.h"
#include "nn/pool.h"

/* Return true if this step can replace oneDNN's pool: on AVX-512, if `src` is nChw16c. */
bool bird_max_pool_nhwc_fits(const bird_plan *plan, bird_value src, const bird_pool *pool);

/* Append dst (nhwc) = maximum of each window of src. */
bird_status bird_max_pool_nhwc(bird_plan *plan, bird_value *dst, bird_value src,
                               const bird_pool *pool, bird_error *err);

#endif
