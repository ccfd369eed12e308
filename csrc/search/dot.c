#include "search/dot.h"

#include <string.h>

const bird_dot *bird_dot_at(int i) {
    const bird_dot *usable[3];
    int n = 0;
#if defined(__x86_64__)
    /* These builtins read CPUID once and also check that the system saves the registers. */
    if (__builtin_cpu_supports("avx512f")) usable[n++] = &bird_dot_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        usable[n++] = &bird_dot_avx2;
#endif
    usable[n++] = &bird_dot_portable;
    return i >= 0 && i < n ? usable[i] : NULL;
}

const bird_dot *bird_dot_best(void) {
    return bird_dot_at(0);
}

/* A copy of known size compiles to vector moves. */
static void copy_lanes(float *to, const float *from, size_t lanes) {
    if (lanes == 16)
        memcpy(to, from, 16 * sizeof *to);
    else if (lanes == 8)
        memcpy(to, from, 8 * sizeof *to);
    else
        memcpy(to, from, lanes * sizeof *to);
}

void bird_dot_pack(float *packed, const float *const *rows, size_t n, size_t tile, size_t lanes,
                   size_t dim) {
    size_t whole = dim / lanes, rest = dim % lanes;
    size_t step = tile * lanes;
    for (size_t j = 0; j < tile; j++) {
        float *to = packed + j * lanes;
        const float *from = j < n ? rows[j] : NULL;
        for (size_t v = 0; v < whole; v++, to += step) {
            if (from)
                copy_lanes(to, from + v * lanes, lanes);
            else
                memset(to, 0, lanes * sizeof *to);
        }
        if (rest) {
            memset(to, 0, lanes * sizeof *to);
            if (from) memcpy(to, from + whole * lanes, rest * sizeof *to);
        }
    }
}
