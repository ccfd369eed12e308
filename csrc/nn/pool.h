/* Pooling over square windows. */
#ifndef BIRD_NN_POOL_H
#define BIRD_NN_POOL_H

#include "nn/plan.h"

typedef struct bird_pool {
    int n, c, ih, iw;        /* src (n, c, ih, iw) */
    int kernel, stride, pad; /* pad: on the left; the right gets what the output needs */
    int oh, ow;              /* dst (n, c, oh, ow) */
} bird_pool;

/* dst = maximum of each window. Inference only. */
bird_status bird_max_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                    const bird_pool *pool, bird_error *err);

/* dst = mean of the pixels of each window that are inside the image. Inference only. */
bird_status bird_average_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                        const bird_pool *pool, bird_error *err);

/* The same for training. *winners, one byte a pixel of dst, says which pixel each maximum came
 * from; backward needs it. */
bird_status bird_max_pool_forward(bird_plan *plan, bird_value *dst, bird_value *winners,
                                  bird_value src, const bird_pool *pool, bird_error *err);

/* diff_src (n, c, ih, iw) in the layout of diff_dst. */
bird_status bird_max_pool_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                                   bird_value winners, const bird_pool *pool, bird_error *err);

bird_status bird_average_pool_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                      const bird_pool *pool, bird_error *err);
bird_status bird_average_pool_backward(bird_plan *plan, bird_value *diff_src,
                                       bird_value diff_dst, const bird_pool *pool,
                                       bird_error *err);

#endif
