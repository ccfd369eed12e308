/* What oneDNN makes of an inference convolution: shared by nn/conv.c and nn/conv_int8.c. */
#ifndef BIRD_NN_CONV_PD_H
#define BIRD_NN_CONV_PD_H

#include "nn/bytes.h"
#include "nn/conv.h"
#include "nn/engine.h"

typedef struct bird_conv_types {
    dnnl_data_type_t src, weights, dst; /* the bias is float32 */
    dnnl_format_tag_t src_layout, dst_layout;
} bird_conv_types;

/* A convolution with weights in the kernel's own layout; `attr` is borrowed. Owned by the
 * caller. */
bird_status bird_conv_pd(dnnl_primitive_desc_t *pd, const bird_conv *conv, bird_conv_types types,
                         const_dnnl_primitive_attr_t attr, bird_error *err);

/* Let an attribute add a residual (NULL: none), whose numbers are of that type, and then apply a
 * ReLU where `relu`, as the end of a block has it. */
bird_status bird_conv_post_ops(dnnl_primitive_attr_t attr, const bird_bytes *residual,
                               dnnl_data_type_t type, bool relu, bird_error *err);

/* Float32 weights in plain oihw order. Owned by the caller. */
bird_status bird_plain_weights_md(dnnl_memory_desc_t *md, const bird_conv *conv, bird_error *err);

#endif
