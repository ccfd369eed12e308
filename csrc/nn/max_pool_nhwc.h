/* Max pooling from the layout of the first convolution to that of the others, in one pass.
 *
 * On AVX-512 the first convolution writes channels in blocks of 16 (nChw16c), and those after
 * the pool read them last (nhwc). oneDNN pools in one layout, so that a reorder would follow,
 * which takes longer than the pool.
 */
#ifndef BIRD_NN_MAX_POOL_NHWC_H
#define BIRD_NN_MAX_POOL_NHWC_H

#include <stdbool.h>

#include "nn/plan.h"
#include "nn/pool.h"

/* True where this file's step can stand for oneDNN's pool: AVX-512, and `src` is nChw16c. */
bool bird_max_pool_nhwc_fits(const bird_plan *plan, bird_value src, const bird_pool *pool);

/* dst (nhwc) = maximum of each window of src. */
bird_status bird_max_pool_nhwc(bird_plan *plan, bird_value *dst, bird_value src,
                               const bird_pool *pool, bird_error *err);

#endif
