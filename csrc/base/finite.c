#include "base/finite.h"

#include <stdatomic.h>
#include <string.h>

#include "base/threads.h"

/* PIECE: numbers per work item. RUN: numbers between two checks of the result; a loop without a
 * branch is vectorised. */
enum { PIECE = 1 << 16, RUN = 4096 };

typedef bool (*finite_fn)(const void *values, size_t begin, size_t end);

typedef struct look {
    finite_fn finite;
    const void *values; /* borrowed from the caller (count) */
    size_t count;
    atomic_bool found; /* a number that is not finite */
} look;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Infinity and NaN have an exponent of ones. */
static bool finite32(const void *values, size_t begin, size_t end) {
    const float *numbers = values;
    const uint32_t ones = 0x7f800000;
    uint32_t found = 0;
    for (size_t i = begin; i < end; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        found |= (bits & ones) == ones;
    }
    return !found;
}

static bool finite16(const void *values, size_t begin, size_t end) {
    const uint16_t *numbers = values;
    const uint16_t ones = 0x7c00;
    uint16_t found = 0;
    for (size_t i = begin; i < end; i++) found |= (uint16_t)((numbers[i] & ones) == ones);
    return !found;
}

/* A bird_item_fn. */
static void look_at_piece(void *context, size_t item, int thread) {
    look *at = context;
    const size_t end = smaller((item + 1) * PIECE, at->count);
    (void)thread;
    for (size_t i = item * PIECE; i < end && !atomic_load(&at->found); i += RUN)
        if (!at->finite(at->values, i, smaller(i + RUN, end))) atomic_store(&at->found, true);
}

static bool all(finite_fn finite, const void *values, size_t count, int n_threads) {
    look at = {.finite = finite, .values = values, .count = count};
    const size_t pieces = (count + PIECE - 1) / PIECE;
    /* Threads are not worthwhile for few values; without memory for threads, use one. */
    if (pieces < 4 || bird_parallel_for(pieces, n_threads, look_at_piece, &at, NULL, NULL))
        for (size_t piece = 0; piece < pieces; piece++) look_at_piece(&at, piece, 0);
    return !atomic_load(&at.found);
}

bool bird_all_finite(const float *values, size_t count, int n_threads) {
    return all(finite32, values, count, n_threads);
}

bool bird_all_finite16(const uint16_t *values, size_t count, int n_threads) {
    return all(finite16, values, count, n_threads);
}
