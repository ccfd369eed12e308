/* The gradient of a convolution's weights as one matrix product, for bfloat16 with AMX.
 *
 *   diff_weights (oc, kernel*kernel*ic) = diff_dst^T (oc, rows) * columns (rows, kernel*kernel*ic)
 *
 * with a row per output pixel of the batch. A row of `columns` holds the input pixels that the
 * kernel sees there, zero outside the image; for 1x1 with stride 1 it is the input itself.
 */
#ifndef BIRD_NN_CONV_WEIGHTS_PRODUCT_H
#define BIRD_NN_CONV_WEIGHTS_PRODUCT_H

#include "nn/conv.h"

/* Like bird_conv_backward_weights. diff_dst and src are bfloat16, in nhwc. */
bird_status bird_conv_weights_product(bird_plan *plan, bird_value diff_weights,
                                      bird_value diff_dst, bird_value src, const bird_conv *conv,
                                      bird_error *err);

#endif
