/* The only place of the core that calls malloc: aligned blocks, checked sizes, and a
 * hook with which tests make the N-th allocation fail.
 */
#ifndef BIRD_BASE_ALLOC_H
#define BIRD_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* One cache line, and the widest vector register (AVX-512). */
enum { BIRD_ALIGNMENT = 64 };

/* A block of `size` bytes aligned to BIRD_ALIGNMENT, or NULL; from 4 MB on aligned for huge pages,
 * from 256 MB on in them where the system has them. Size 0 gives a valid block. The caller owns
 * it and gives it to bird_free. Contents undefined. */
void *bird_alloc(size_t size);

/* Of a block of 4 MB or more, the first `used` bytes are filled and stay: the kernel may gather
 * them in huge pages, in its own time. */
void bird_alloc_settle(void *block, size_t used);

/* The same with all bytes zero; NULL also where count * size overflows. */
void *bird_calloc(size_t count, size_t size);

/* Resize a block, keeping min(old_size, new_size) bytes; NULL leaves the old one alive. */
void *bird_realloc(void *block, size_t old_size, size_t new_size);

/* Release a block of the functions above; NULL is fine. */
void bird_free(void *block);

/* *product = a * b; false (and *product untouched) where that overflows. */
bool bird_size_mul(size_t a, size_t b, size_t *product);

/* *sum = a + b; false (and *sum untouched) where that overflows. */
bool bird_size_add(size_t a, size_t b, size_t *sum);

/* Tests only: the n-th allocation from now on fails (1 = the next), once; 0 switches it off. */
void bird_alloc_fail_at(long n);

/* Tests only: how many allocations were asked for since the last bird_alloc_fail_at. */
long bird_alloc_count(void);

#endif
