/* Check whether numbers are finite: neither infinite nor NaN. Any thread. */
#ifndef BIRD_BASE_FINITE_H
#define BIRD_BASE_FINITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Return false if one of values (count) is NaN or infinite. */
bool bird_all_finite(const float *values, size_t count, int n_threads);

/* The same for the bits of float16 numbers. */
bool bird_all_finite16(const uint16_t *values, size_t count, int n_threads);

#endif
