/* The k best of a stream of scored rows in a total order: higher score first, then lower row. The
 * result does not depend on the order in which the rows arrive. */
#ifndef BIRD_SEARCH_TOPK_H
#define BIRD_SEARCH_TOPK_H

#include <stddef.h>
#include <stdint.h>

typedef struct bird_hit {
    float score;
    int64_t row;
} bird_hit;

/* A bounded heap, the worst hit at its root. */
typedef struct bird_topk {
    bird_hit *hits; /* (capacity,), borrowed from the caller */
    size_t capacity;
    size_t count;
    float threshold; /* a score below it has no chance; -inf until the heap is full */
} bird_topk;

void bird_topk_init(bird_topk *top, bird_hit *hits, size_t capacity);

/* Offer a row. NaN is never kept. */
void bird_topk_push(bird_topk *top, float score, int64_t row);

/* Sort the hits, best first. The heap cannot be used afterwards. */
void bird_topk_sort(bird_topk *top);

#endif
