/* Numbers for tests of operations, in float32 and in bfloat16. */
#ifndef BIRD_TESTS_NN_NUMBERS_H
#define BIRD_TESTS_NN_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "nn/isa.h"
#include "nn/precision.h"

static unsigned random_state = 1;
static bird_precision precision = BIRD_FLOAT32; /* precision under test */

/* Return what to print after the name of a case. */
static inline const char *precision_label(void) {
    return precision == BIRD_BFLOAT16 ? " bfloat16" : "";
}

/* Return the nearest number that a tensor of this precision can contain, ties to even. */
static inline float rounded(float value) {
    uint32_t bits;
    if (precision == BIRD_FLOAT32) return value;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Return integers from -4 to 4, or numbers between -4 and 4. The caller frees them. */
static inline float *numbers(size_t n, bool whole) {
    float *values = bird_alloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        values[i] = whole ? (float)((int)(random_state >> 24) % 9 - 4)
                          : rounded((float)(random_state >> 8) / (float)(1 << 21) - 4.0f);
    }
    return values;
}

static inline float *integers(size_t n) {
    return numbers(n, true);
}

/* Run a test in float32 and, if the machine supports it, in bfloat16. Return the number of
 * failures. */
static inline int in_both_precisions(void (*test)(void)) {
    test();
    if (bird_isa_has_bf16()) {
        precision = BIRD_BFLOAT16;
        test();
    }
    return check_failures;
}

#endif
