#include "base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long requests;
static atomic_long failing_request;

/* Counts the request; true where the test hook wants this very one to fail. */
static bool must_fail(void) {
    long n = atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed) + 1;
    long at = atomic_load_explicit(&failing_request, memory_order_relaxed);
    return at != 0 && n == at;
}

void *bird_alloc(size_t size) {
    size_t rounded;
    if (must_fail()) return NULL;
    if (size == 0) size = 1;
    /* aligned_alloc wants a multiple of the alignment. */
    if (!bird_size_add(size, BIRD_ALIGNMENT - 1, &rounded)) return NULL;
    rounded &= ~(size_t)(BIRD_ALIGNMENT - 1);
    return aligned_alloc(BIRD_ALIGNMENT, rounded);
}

void *bird_calloc(size_t count, size_t size) {
    size_t total;
    void *block;
    if (!bird_size_mul(count, size, &total)) return NULL;
    block = bird_alloc(total);
    if (block) memset(block, 0, total);
    return block;
}

void *bird_realloc(void *block, size_t old_size, size_t new_size) {
    /* realloc does not keep an alignment of 64, hence the copy. */
    void *grown = bird_alloc(new_size);
    if (!grown) return NULL;
    if (block) memcpy(grown, block, old_size < new_size ? old_size : new_size);
    bird_free(block);
    return grown;
}

void bird_free(void *block) {
    free(block);
}

bool bird_size_mul(size_t a, size_t b, size_t *product) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *product = a * b;
    return true;
}

bool bird_size_add(size_t a, size_t b, size_t *sum) {
    if (a > SIZE_MAX - b) return false;
    *sum = a + b;
    return true;
}

void bird_alloc_fail_at(long n) {
    atomic_store(&requests, 0);
    atomic_store(&failing_request, n);
}

long bird_alloc_count(void) {
    return atomic_load(&requests);
}
