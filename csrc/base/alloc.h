/* The only place in the core that calls malloc: aligned blocks, checked sizes, and a
 * hook for tests that makes the N-th allocation fail.
 */
#ifndef BIRD_BASE_ALLOC_H
#define BIRD_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* One cache line, and the widest vector register (AVX-512). */
enum { BIRD_ALIGNMENT = 64 };

/* Return `size`, rounded up to a multiple of BIRD_ALIGNMENT. It must not overflow. */
size_t bird_aligned_size(size_t size);

/* Return a block of `size` bytes aligned to BIRD_ALIGNMENT, or NULL. Blocks of at least 4 MB are
 * aligned for huge pages, and blocks of at least 256 MB use them if the system has them. Size 0
 * gives a valid block. The content is undefined. The caller owns the block; see bird_free. */
void *bird_alloc(size_t size);

/* Tell the operating system that the first `used` bytes of a block of at least 4 MB will stay in
 * use, so that it can move them to huge pages later. */
void bird_alloc_settle(void *block, size_t used);

/* Like bird_alloc with all bytes zero; also NULL if count * size overflows. */
void *bird_calloc(size_t count, size_t size);

/* Resize a block, keeping min(old_size, new_size) bytes. If it returns NULL, the old block still
 * exists. */
void *bird_realloc(void *block, size_t old_size, size_t new_size);

/* Free a block of the functions above; NULL is allowed. */
void bird_free(void *block);

/* Set *product = a * b. If it overflows, return false and do not change *product. */
bool bird_size_mul(size_t a, size_t b, size_t *product);

/* Set *sum = a + b. If it overflows, return false and do not change *sum. */
bool bird_size_add(size_t a, size_t b, size_t *sum);

/* Tests only: make the n-th allocation from now fail once (1 = the next); 0 turns it off. */
void bird_alloc_fail_at(long n);

/* Tests only: return the number of allocations since the last bird_alloc_fail_at. */
long bird_alloc_count(void);

#endif
