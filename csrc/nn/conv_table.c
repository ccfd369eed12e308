#include "nn/conv_table.h"

/* Measured on two cores, batch 1 and 8, the 23 shapes of ResNet-50 (benchmarks/README.md).
 *
 * AVX-512: nhwc (brgconv) throughout, as fast as nChw16c (jit) at batch 8 and 5 % faster at
 * batch 1. The blocked 1x1 kernels also split their sums where 12 or more threads share one
 * small image (1024->256 and 1024->512 at 14 px, 512->2048 at 7 px): other bits.
 * The first convolution has no nhwc kernel for three channels, but for bfloat16.
 *
 * AVX2: 1x1 convolutions are as fast or faster in nChw8c (jit), so that is the network's layout.
 * A 3x3 with stride 2 runs 3 to 27 % faster as brgconv on nhwc, which pays for its two reorders.
 * With 256 channels it does not qualify: at 36 px and 64 threads its bits depend on the batch.
 *
 * The shapes that only basic blocks have (3x3 from 64 to 128 channels and so on, and with a
 * residual) follow the same rules: held to the same bits, not compared for speed.
 *
 * bfloat16: nhwc throughout, as in training. On AVX512_BF16 each layer takes half of what it takes
 * in float32, the first convolution two thirds (one image, one thread). */
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

/* The 13 of a ResNet-50 together take three fifths of the direct kernels' time on AVX2, transforms
 * included. Narrower ones, of variant D's stem, were not tried, and none with a residual, which the
 * second of a basic block has. */
bool bird_conv_is_winograd(bird_isa isa, const bird_conv *conv) {
    return isa == BIRD_ISA_AVX2 && conv->kernel == 3 && conv->stride == 1 && conv->pad == 1 &&
           conv->ic >= 64 && conv->ic % 8 == 0 && conv->oc % 16 == 0;
}

bool bird_training_is_winograd(bird_isa isa, const bird_conv *conv) {
    return bird_conv_is_winograd(isa, conv) && conv->ic % 16 == 0;
}

/* 256 -> 1024 at 14 px, six of them in a ResNet-50: jit_1x1 takes 5 to 8 % less than brgconv_1x1
 * on a batch of 4 and one thread, and 1 % less on one image and two. */
const char *bird_conv_kernel(bird_isa isa, const bird_conv *conv) {
    const bool widening = conv->kernel == 1 && conv->ic == 256 && conv->oc == 1024;
    return isa == BIRD_ISA_AVX512 && widening ? "jit_1x1" : NULL;
}

/* Training runs whole batches on a fixed number of threads, so only speed counts. Blocked
 * layouts have the faster backward kernels in float32, strided ones above all. In bfloat16
 * AMX works on nhwc alone, at up to twelve times the blocked kernels' speed; without AMX the two
 * are as fast, and our own steps know one layout. */
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
