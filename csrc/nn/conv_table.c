#include "nn/conv_table.h"

/* Measured on two cores, batch 8, the 23 shapes of ResNet-50 (figures: benchmarks/README.md).
 * Blocked layouts (jit, jit_1x1) win nearly everywhere on both instruction sets, and one
 * layout throughout needs no reorders. The exception pays for its two reorders: on AVX2 the
 * 3x3 convolutions of the last stage run 8 % faster as brgconv on nhwc. */
dnnl_format_tag_t bird_conv_layout(bird_isa isa, const bird_conv *conv) {
    switch (isa) {
        case BIRD_ISA_AVX512:
            return dnnl_nChw16c;
        case BIRD_ISA_AVX2:
            if (conv->kernel == 3 && conv->ic >= 512) return dnnl_nhwc;
            return dnnl_nChw8c;
        case BIRD_ISA_GENERIC:
            break;
    }
    return dnnl_format_tag_any;
}
