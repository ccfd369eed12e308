#define _DEFAULT_SOURCE /* madvise */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Huge pages: a single image reads the 94 MB of weights of a ResNet-50 once, and with pages of 4 KB
 * the page lookups take about 1 % of its time. But allocating a huge page that was not used
 * recently can be slow; on a virtual machine this doubled the time of a new process. So only blocks
 * for long work request huge pages at once; bird_alloc_settle requests them later for other blocks
 * that stay. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20, LEAST_HUGE = 4 << 20, LEAST_AT_ONCE = 256 << 20 };

static atomic_long requests;
static atomic_long failing_request;

/* Count the request; return true if the test hook makes it fail. */
static bool must_fail(void) {
    long n = atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed) + 1;
    long at = atomic_load_explicit(&failing_request, memory_order_relaxed);
    return at != 0 && n == at;
}

static void *alloc_aligned(size_t alignment, size_t size) {
    size_t rounded;
    /* aligned_alloc needs a multiple of the alignment. */
    if (!bird_size_add(size, alignment - 1, &rounded)) return NULL;
    rounded &= ~(alignment - 1);
    return aligned_alloc(alignment, rounded);
}

void *bird_alloc(size_t size) {
    void *block;
    if (must_fail()) return NULL;
    if (size == 0) size = 1;
    if (size < LEAST_HUGE) return alloc_aligned(BIRD_ALIGNMENT, size);
    block = alloc_aligned(HUGE_PAGE, size);
    if (block && size >= LEAST_AT_ONCE) bird_alloc_settle(block, size);
    return block;
}

size_t bird_aligned_size(size_t size) {
    return (size + BIRD_ALIGNMENT - 1) / BIRD_ALIGNMENT * BIRD_ALIGNMENT;
}

void bird_alloc_settle(void *block, size_t used) {
#ifdef MADV_HUGEPAGE
    /* Without kernel support this fails, and the block is still valid. */
    if (used >= HUGE_PAGE) (void)madvise(block, used / PAGE * PAGE, MADV_HUGEPAGE);
#else
    (void)block;
    (void)used;
#endif
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
    /* Copy, because realloc does not keep an alignment of 64. */
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
