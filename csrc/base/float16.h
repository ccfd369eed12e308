/* float16 numbers (IEEE 754 binary16), as their bits. Each of them is also a float32. */
#ifndef BIRD_BASE_FLOAT16_H
#define BIRD_BASE_FLOAT16_H

#include <stddef.h>
#include <stdint.h>

/* to (n) = from (n), exactly; NaN stays NaN. `from` is aligned to its own size, no more. */
void bird_widen(float *to, const uint16_t *from, size_t n);

/* The same without the instructions of the processor. For tests. */
void bird_widen_portable(float *to, const uint16_t *from, size_t n);

#endif
