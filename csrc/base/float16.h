/* float16 numbers (IEEE 754 binary16), as their bits. Each of them is also a float32. */
#ifndef BIRD_BASE_FLOAT16_H
#define BIRD_BASE_FLOAT16_H

#include <stddef.h>
#include <stdint.h>

/* Convert from (n) to (n) exactly; NaN stays NaN. `from` needs only the alignment of uint16_t. */
void bird_widen(float *to, const uint16_t *from, size_t n);

/* The same without special instructions of the processor. For tests. */
void bird_widen_portable(float *to, const uint16_t *from, size_t n);

#endif
