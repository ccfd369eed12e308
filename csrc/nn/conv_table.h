/* Choose the memory layout of each convolution, and with it the kernel, per instruction set.
 *
 * A choice never depends on the batch size or on a timing at run time, because kernels differ in
 * the last bits and an image must give the same vector in every batch. A test checks for each entry
 * that rows are bit-identical for every batch size and thread count.
 *
 * The environment variable BIRDEMBED_KERNELS limits the choice, so that users can compare kernels
 * or keep the last bits of their vectors. "onednn" allows only oneDNN's own first choice;
 * "winograd2" also allows F(2x2) and the faster ones among oneDNN's kernels; "winograd4" also
 * allows F(4x4); "fastest" (the default) allows all, also split float32 numbers on AMX.
 */
#ifndef BIRD_NN_CONV_TABLE_H
#define BIRD_NN_CONV_TABLE_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

#include "base/status.h"
#include "nn/conv.h"
#include "nn/isa.h"

/* Return BIRD_ARG if BIRDEMBED_KERNELS has any other value. */
bird_status bird_conv_table_check(bird_error *err);

/* Return the layout of src and dst of an inference convolution on numbers of `type`. */
dnnl_format_tag_t bird_conv_layout(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* Return the output tile size (4 or 2) if nn/conv_winograd.h replaces oneDNN's kernels for a
 * convolution without a residual, else 0. */
int bird_conv_winograd(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* Return true if nn/conv_split.h computes an inference convolution on numbers of `type`. */
bool bird_conv_is_split(dnnl_data_type_t type, const bird_conv *conv);

/* Return true if F(2x2) computes both backward passes of training in float32. The forward pass is
 * always oneDNN's; nn/conv_training.c says why. */
bool bird_training_is_winograd(bird_isa isa, const bird_conv *conv);

/* Return true if nn/conv_weights_product.h computes the gradient of the weights in training, on
 * activations of `type`. */
bool bird_training_is_product(dnnl_data_type_t type, const bird_conv *conv);

/* Return the start of the name of a oneDNN kernel that is faster for numbers of `type` than
 * oneDNN's first choice, or NULL if there is none. */
const char *bird_conv_kernel(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* Return the layout of activations and gradients with `channels` channels in training. */
dnnl_format_tag_t bird_training_layout(bird_isa isa, dnnl_data_type_t type, dnnl_dim_t channels);

#endif
