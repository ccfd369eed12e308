#include "base/float16.h"

#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

enum { LANES = 8 };

__attribute__((target("avx,f16c"))) static void widen_f16c(float *to, const uint16_t *from,
                                                           size_t n) {
    for (; n >= LANES; n -= LANES, to += LANES, from += LANES)
        _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from)));
    for (; n > 0; n--) *to++ = _cvtsh_ss(*from++);
}

#endif

void bird_widen_portable(float *to, const uint16_t *from, size_t n) {
    const float step = 1.0f / (1 << 24); /* the distance between subnormal numbers */
    for (size_t i = 0; i < n; i++) {
        const uint32_t sign = (uint32_t)(from[i] >> 15) << 31;
        const uint32_t exponent = from[i] >> 10 & 0x1f, fraction = from[i] & 0x3ff;
        uint32_t bits = (exponent + 112) << 23 | fraction << 13; /* 112 = 127 - 15, the biases */
        if (exponent == 0x1f) {
            bits = 0x7f800000 | fraction << 13;
            if (fraction) bits |= 0x400000; /* a quiet NaN, like the processor's result */
        }
        if (exponent == 0) {
            const float small = (float)fraction * step;
            memcpy(&bits, &small, sizeof bits);
        }
        bits |= sign;
        memcpy(&to[i], &bits, sizeof bits);
    }
}

void bird_widen(float *to, const uint16_t *from, size_t n) {
#if defined(__x86_64__)
    /* Every processor with AVX2 has F16C; older compilers do not know the name "f16c" here. */
    if (__builtin_cpu_supports("avx2")) {
        widen_f16c(to, from, n);
        return;
    }
#endif
    bird_widen_portable(to, from, n);
}
