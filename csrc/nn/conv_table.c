#include "nn/conv_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "nn/split.h"
#include "nn/winograd4.h"

typedef enum kernels {
    KERNELS_ONEDNN,
    KERNELS_WINOGRAD2,
    KERNELS_WINOGRAD4,
    KERNELS_FASTEST,
    KERNELS_UNKNOWN
} kernels;

static kernels chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void read_environment(void) {
    const char *text = getenv("BIRDEMBED_KERNELS");
    if (!text || !*text || strcmp(text, "fastest") == 0)
        chosen = KERNELS_FASTEST;
    else if (strcmp(text, "winograd2") == 0)
        chosen = KERNELS_WINOGRAD2;
    else if (strcmp(text, "winograd4") == 0)
        chosen = KERNELS_WINOGRAD4;
    else
        chosen = strcmp(text, "onednn") == 0 ? KERNELS_ONEDNN : KERNELS_UNKNOWN;
}

/* Read the variable once, so that all plans of a process use the same kernels. */
static kernels allowed(void) {
    pthread_once(&chosen_once, read_environment);
    return chosen;
}

bird_status bird_conv_table_check(bird_error *err) {
    if (allowed() != KERNELS_UNKNOWN) return BIRD_OK;
    return bird_fail(err, BIRD_ARG,
                     "the environment variable BIRDEMBED_KERNELS must be fastest, winograd4, "
                     "winograd2 or onednn");
}

/* Measured on two cores, batch 1 and 8, with the 23 shapes of ResNet-50 (benchmarks/layers.md).
 *
 * AVX-512: nhwc (brgconv) everywhere. It is as fast as nChw16c (jit) at batch 8 and 5 % faster at
 * batch 1. The blocked 1x1 kernels also split their sums when 12 or more threads share one small
 * image (1024->256 and 1024->512 at 14 px, 512->2048 at 7 px), which changes the bits. The first
 * convolution has three channels, and oneDNN has an nhwc kernel for those only in bfloat16.
 *
 * AVX2: nChw8c (jit) is as fast or faster for 1x1 convolutions, so the network uses that layout. A
 * 3x3 convolution with stride 2 runs 3 to 27 % faster as brgconv on nhwc, which outweighs its two
 * reorders. The one with 256 channels stays in nChw8c: with brgconv at 36 px and 64 threads its
 * bits depend on the batch.
 *
 * The shapes that occur only in basic blocks (such as 3x3 from 64 to 128 channels, and those with a
 * residual) follow the same rules. Their bits are tested too, but their speed was not compared.
 *
 * bfloat16: nhwc everywhere, as in training. On AVX512_BF16 each layer takes half as long as in
 * float32, and the first convolution two thirds (one image, one thread). */
dnnl_format_tag_t bird_conv_layout(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv) {
    if (type == dnnl_bf16) return dnnl_nhwc;
    switch (isa) {
        case BIRD_ISA_AVX512:
            return conv->ic < 16 ? dnnl_nChw16c : dnnl_nhwc;
        case BIRD_ISA_AVX2:
            return conv->kernel == 3 && conv->stride == 2 && conv->ic >= 128 && conv->ic != 256
                       ? dnnl_nhwc
                       : dnnl_nChw8c;
        case BIRD_ISA_GENERIC:
            break;
    }
    return dnnl_format_tag_any;
}

/* Return true for the shapes that Winograd's kernels handle. */
static bool is_wide_3x3(const bird_conv *conv) {
    return conv->kernel == 3 && conv->stride == 1 && conv->pad == 1 && conv->ic >= 64;
}

/* F(2x2): on AVX2 the 13 such convolutions of a ResNet-50 together take three fifths of the direct
 * kernels' time, transforms included. Not tried: fewer than 64 channels (variant D's stem), and
 * convolutions with a residual (the second one of a basic block). */
static bool suits_winograd2(bird_isa isa, const bird_conv *conv) {
    return isa == BIRD_ISA_AVX2 && is_wide_3x3(conv) && conv->ic % 8 == 0 && conv->oc % 16 == 0;
}

/* F(4x4), in GF/s of the direct convolution: oneDNN's kernel, F(2x2) on AVX2, F(4x4). Measured on
 * one thread of a machine with two Zen 4 cores, weights not in the caches; first one image, then
 * four.
 *
 *   px, channels      AVX-512                               limited to AVX2
 *   56,  64           112 160 305, 112 167 315              111 173 250, 110 176 270
 *   28, 128           116 181 315, 115 198 340              106 200 285, 107 200 330
 *   14, 256           121 180 280, 120 200 293               98 181 228, 104 200 268
 *    7, 512           125 105 145, 131 155 300               83 104  90,  88 148 196
 *    9, 512           128 137 220, 123 170 194               94 137 136,  98 172 142
 *   12, 512           123 197 379, 118 216 344              101 172 197, 101 212 213
 *
 * With the direct kernel at 7 px the network takes 2.7 % longer at batch 8, but 2 % less for one
 * image on two threads, and 56 MB less for weights. On AVX2, layers with 512 channels stay on
 * F(2x2).
 *
 * For bfloat16 tensors F(4x4) still multiplies in float32. It beats the 240 to 250 GF/s of the
 * direct bfloat16 kernels, except those that use AMX tiles. Its weights are eight times as large:
 * with 256 channels they would come from memory every time, for a gain of only a tenth. */
static bool suits_winograd4(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv) {
    const bird_winograd4_kernel *kernel = bird_winograd4_best(type == dnnl_bf16);
    const int tiles = ((conv->ih + 3) / 4) * ((conv->iw + 3) / 4);
    if (!kernel || !is_wide_3x3(conv)) return false;
    if (conv->ic % 16 != 0 || conv->oc % kernel->panel != 0) return false;
    /* Tiles that lie mostly outside the image save too little. */
    if (conv->ih * conv->iw < 8 * tiles) return false;
    if (type == dnnl_bf16) return conv->ic < 256 && !bird_isa_has_amx();
    return conv->ic < 512 || (isa != BIRD_ISA_AVX2 && tiles > 4);
}

int bird_conv_winograd(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv) {
    if (allowed() == KERNELS_ONEDNN) return 0;
    if (allowed() != KERNELS_WINOGRAD2 && suits_winograd4(isa, type, conv)) return 4;
    return type == dnnl_f32 && suits_winograd2(isa, conv) ? 2 : 0;
}

/* With AMX, a product of split float32 numbers costs three products of bfloat16 numbers, which are
 * sixteen times as fast as float32 ones. benchmarks/layers.md has the rates per shape. */
bool bird_conv_is_split(dnnl_data_type_t type, const bird_conv *conv) {
    return allowed() == KERNELS_FASTEST && type == dnnl_f32 && bird_split_fits(conv);
}

bool bird_training_is_winograd(bird_isa isa, const bird_conv *conv) {
    return allowed() != KERNELS_ONEDNN && suits_winograd2(isa, conv) && conv->ic % 16 == 0;
}

/* With AMX, oneDNN's kernels for the gradient of the weights add up one image at a time, and read
 * and write all sums for each. With few pixels per image, or a stride, this takes most of the time.
 * benchmarks/layers.md compares them with the matrix product. The columns of a 3x3 convolution are
 * nine times as large as its input, so it also needs few pixels. Without AMX there is no gain. */
bool bird_training_is_product(dnnl_data_type_t type, const bird_conv *conv) {
    if (allowed() == KERNELS_ONEDNN || type != dnnl_bf16 || !bird_isa_has_amx()) return false;
    if (conv->kernel == 1) return conv->ic >= 16;
    return conv->ic >= 256 &&
           bird_conv_out(conv, conv->ih) * bird_conv_out(conv, conv->iw) <= 256;
}

/* oneDNN's older kernels in place of brgconv, its first choice. Measured on one thread of a machine
 * with two Zen 4 cores, one image and then four; share of brgconv's time that is saved:
 *
 *   float32   256 -> 1024 1 and 3 %, 512 -> 2048 1 and 3 %, 2048 -> 512 5 and 4 %, with stride 2
 *             512 -> 1024 3 and 2 %, 1024 -> 2048 0 and 4 %; the others lose or gain nothing
 *   bfloat16  1x1 1 to 6 and 0 to 7 %, 3x3 1 to 5 and -1 to 5 %; one image on two threads 4 to 13 %
 *
 * With AMX, brgconv is used for every shape. */
const char *bird_conv_kernel(bird_isa isa, dnnl_data_type_t type, const bird_conv *conv) {
    const bool pointwise = conv->kernel == 1;
    if (isa != BIRD_ISA_AVX512 || allowed() == KERNELS_ONEDNN) return NULL;
    if (type == dnnl_bf16) {
        if (bird_isa_has_amx()) return NULL;
        return pointwise ? "jit_bf16_1x1:" : "jit_bf16:";
    }
    return pointwise && (conv->oc >= 1024 || conv->ic >= 2048) ? "jit_1x1:" : NULL;
}

/* Training runs whole batches on a fixed number of threads, so only speed counts. In float32 the
 * blocked layouts have the faster backward kernels, above all for convolutions with a stride. In
 * bfloat16, AMX works only on nhwc, at up to twelve times the speed of the blocked kernels;
 * without AMX both layouts are equally fast, and the custom steps of this library support only
 * one layout. */
dnnl_format_tag_t bird_training_layout(bird_isa isa, dnnl_data_type_t type, dnnl_dim_t channels) {
    if (type == dnnl_bf16) return dnnl_nhwc;
    if (channels < 8) return dnnl_nchw; /* images */
    switch (isa) {
        case BIRD_ISA_AVX512:
            return dnnl_nChw16c;
        case BIRD_ISA_AVX2:
            return dnnl_nChw8c;
        case BIRD_ISA_GENERIC:
            break;
    }
    return dnnl_nchw;
}
