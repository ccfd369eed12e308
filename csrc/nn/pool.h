/* Pooling over square windows. */
#ifndef BIRD_NN_POOL_H
#define BIRD_NN_POOL_H

#include "nn/plan.h"

typedef struct bird_pool {
    int n, c, ih, iw;        /* src (n, c, ih, iw) */
    int kernel, stride, pad; /* pad: top and left; the other sides get what the output needs */
    int oh, ow;              /* dst (n, c, oh, ow) */
} bird_pool;

/* Append dst = maximum of each window. Inference only. */
bird_status bird_max_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                    const bird_pool *pool, bird_error *err);

/* Append dst = mean of those pixels of each window that are inside the image. Inference only. */
bird_status bird_average_pool_inference(bird_plan *plan, bird_value *dst, bird_value src,
                                        const bird_pool *pool, bird_error *err);

/* The same for training. *winners, one byte per pixel of dst, says which pixel each maximum came
 * from; the backward pass needs it. */
bird_status bird_max_pool_forward(bird_plan *plan, bird_value *dst, bird_value *winners,
                                  bird_value src, const bird_pool *pool, bird_error *err);

/* Append diff_src (n, c, ih, iw), in the layout of training. */
bird_status bird_max_pool_backward(bird_plan *plan, bird_value *diff_src, bird_value diff_dst,
                                   bird_value winners, const bird_pool *pool, bird_error *err);

bird_status bird_average_pool_forward(bird_plan *plan, bird_value *dst, bird_value src,
                                      const bird_pool *pool, bird_error *err);
bird_status bird_average_pool_backward(bird_plan *plan, bird_value *diff_src,
                                       bird_value diff_dst, const bird_pool *pool,
                                       bird_error *err);

#endif
