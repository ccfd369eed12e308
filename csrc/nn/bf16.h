/* bfloat16 numbers, 16 at a time, for our own steps. These functions need AVX512_BF16; the callers
 * run only on machines that have it. */
#ifndef BIRD_NN_BF16_H
#define BIRD_NN_BF16_H

#include <immintrin.h>
#include <stdint.h>

typedef uint16_t bird_bf16; /* the upper half of a float */

#define BIRD_BF16_CODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

static inline BIRD_BF16_CODE __m512 bird_load_bf16(const bird_bf16 *from) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* Round to the nearest, ties to even. */
static inline BIRD_BF16_CODE void bird_store_bf16(bird_bf16 *to, __m512 from) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(from));
}

#endif
