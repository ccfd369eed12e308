#include "search/topk.h"

#include <math.h>
#include <stdbool.h>

void bird_topk_init(bird_topk *top, bird_hit *hits, size_t capacity) {
    top->hits = hits;
    top->capacity = capacity;
    top->count = 0;
    top->threshold = -INFINITY;
}

static bool worse(bird_hit a, bird_hit b) {
    return a.score < b.score || (a.score == b.score && a.row > b.row);
}

/* Move the hole at `at` down to where `hit` belongs; the worst hit stays at the root. */
static void sift_down(bird_hit *hits, size_t count, size_t at, bird_hit hit) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && worse(hits[child + 1], hits[child])) child++;
        if (!worse(hits[child], hit)) break;
        hits[at] = hits[child];
        at = child;
    }
    hits[at] = hit;
}

static void sift_up(bird_hit *hits, size_t at, bird_hit hit) {
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!worse(hit, hits[parent])) break;
        hits[at] = hits[parent];
        at = parent;
    }
    hits[at] = hit;
}

void bird_topk_push(bird_topk *top, float score, int64_t row) {
    bird_hit hit = {score, row};
    if (isnan(score) || top->capacity == 0) return;
    if (top->count < top->capacity) {
        sift_up(top->hits, top->count++, hit);
        if (top->count < top->capacity) return;
    } else {
        if (!worse(top->hits[0], hit)) return;
        sift_down(top->hits, top->count, 0, hit);
    }
    top->threshold = top->hits[0].score;
}

void bird_topk_sort(bird_topk *top) {
    /* Heap sort: move the worst hit to the end, repeatedly. */
    for (size_t n = top->count; n > 1; n--) {
        bird_hit worst = top->hits[0];
        sift_down(top->hits, n - 1, 0, top->hits[n - 1]);
        top->hits[n - 1] = worst;
    }
}
