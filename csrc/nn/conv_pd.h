/* oneDNN's descriptors of an inference convolution, for nn/conv.c and nn/conv_int8.c. */
#ifndef BIRD_NN_CONV_PD_H
#define BIRD_NN_CONV_PD_H

#include "nn/bytes.h"
#include "nn/conv.h"
#include "nn/engine.h"

typedef struct bird_conv_types {
    dnnl_data_type_t src, weights, dst; /* the bias is float32 */
    dnnl_format_tag_t src_layout, dst_layout;
} bird_conv_types;

/* Create the descriptor of a convolution with weights in the kernel's own layout. `attr` is
 * borrowed. The caller frees *pd. */
bird_status bird_conv_pd(dnnl_primitive_desc_t *pd, const bird_conv *conv, bird_conv_types types,
                         const_dnnl_primitive_attr_t attr, bird_error *err);

/* Make `attr` add a residual (NULL: none) whose numbers are of `type`, and then apply a ReLU if
 * `relu`, as at the end of a residual block. */
bird_status bird_conv_post_ops(dnnl_primitive_attr_t attr, const bird_bytes *residual,
                               dnnl_data_type_t type, bool relu, bird_error *err);

/* Create the descriptor of float32 weights in plain oihw order. The caller frees it. */
bird_status bird_plain_weights_md(dnnl_memory_desc_t *md, const bird_conv *conv, bird_error *err);

#endif
