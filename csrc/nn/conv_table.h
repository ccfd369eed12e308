/* Which layout, and with it which kernel, each convolution uses: by instruction set.
 *
 * A choice never depends on the batch or on a timing at run time, because kernels differ in
 * the last bits: the same image must give the same vector in every batch. A test holds
 * each entry to bit-identical rows over batches and thread counts.
 *
 * The environment variable BIRDEMBED_KERNELS limits the choice, to compare kernels and for users
 * whose last bits must not change: "onednn" allows oneDNN's own first choice only, "winograd2"
 * also F(2x2) and the faster ones of oneDNN's kernels, "fastest" (the default) everything.
 */
#ifndef BIRD_NN_CONV_TABLE_H
#define BIRD_NN_CONV_TABLE_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

#include "base/status.h"
#include "nn/conv.h"
#include "nn/isa.h"

/* BIRD_ARG if BIRDEMBED_KERNELS has another value. */
bird_status bird_conv_table_check(bird_error *err);

/* The layout of src and dst of an inference convolution of numbers of that type. */
dnnl_format_tag_t bird_conv_layout(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* Output pixels of a side of Winograd's tiles where nn/conv_winograd.h takes the place of oneDNN's
 * kernels (no residual): 4, 2, or 0 where it does not. */
int bird_conv_winograd(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* True where F(2x2) does so in training in float32, in both backward directions; forward:
 * nn/conv_training.c. */
bool bird_training_is_winograd(bird_isa isa, const bird_conv *conv);

/* The beginning of the name of a kernel that is faster than oneDNN's first choice for numbers of
 * that type; NULL if there is none. */
const char *bird_conv_kernel(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv);

/* The layout of activations and gradients of training with so many channels. */
dnnl_format_tag_t bird_training_layout(bird_isa isa, dnnl_data_type_t type, dnnl_dim_t channels);

#endif
