#include "nn/isa.h"

#include <oneapi/dnnl/dnnl.h>
#include <stddef.h>
#include <stdio.h>

/* The values of dnnl_cpu_isa_t are bit masks: a larger set contains the bits of a smaller one.
 * The AVX2 members with VNNI set a bit that the AVX-512 members lack, so bird_isa_get needs two
 * tests. */
static bool covers(unsigned isa, unsigned wanted) {
    return (isa & wanted) == wanted;
}

bird_isa bird_isa_get(void) {
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    if (covers(isa, dnnl_cpu_isa_avx512_core)) return BIRD_ISA_AVX512;
    if (covers(isa, dnnl_cpu_isa_avx2)) return BIRD_ISA_AVX2;
    return BIRD_ISA_GENERIC;
}

const char *bird_isa_name(void) {
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = {
        {dnnl_cpu_isa_avx512_core_amx_fp16, "AVX512_CORE_AMX_FP16"},
        {dnnl_cpu_isa_avx512_core_amx, "AVX512_CORE_AMX"},
        {dnnl_cpu_isa_avx512_core_fp16, "AVX512_CORE_FP16"},
        {dnnl_cpu_isa_avx512_core_bf16, "AVX512_CORE_BF16"},
        {dnnl_cpu_isa_avx512_core_vnni, "AVX512_CORE_VNNI"},
        {dnnl_cpu_isa_avx512_core, "AVX512_CORE"},
        {dnnl_cpu_isa_avx2_vnni_2, "AVX2_VNNI_2"},
        {dnnl_cpu_isa_avx2_vnni, "AVX2_VNNI"},
        {dnnl_cpu_isa_avx2, "AVX2"},
        {dnnl_cpu_isa_avx, "AVX"},
        {dnnl_cpu_isa_sse41, "SSE41"},
    };
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].isa == isa) return names[i].name;
    return "UNKNOWN";
}

const char *bird_onednn_version(void) {
    static char text[32];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

bool bird_isa_has_bf16(void) {
    return covers((unsigned)dnnl_get_effective_cpu_isa(), dnnl_cpu_isa_avx512_core_bf16);
}

bool bird_isa_has_amx(void) {
    return covers((unsigned)dnnl_get_effective_cpu_isa(), dnnl_cpu_isa_avx512_core_amx);
}

bool bird_isa_has_int8(void) {
    return bird_isa_get() != BIRD_ISA_GENERIC;
}

int bird_isa_largest_int8_weight(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    return covers(isa, dnnl_cpu_isa_avx512_core_vnni) ? 127 : 64;
}
