#include "search/cosine.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "search/topk.h"

/* Limits the heaps of a panel: with a large k, fewer queries share a pass over the corpus. */
static const size_t heap_bytes = 256 << 20;

typedef struct topk_run {
    bird_topk *tops; /* owned: (n_threads, panel) */
    bird_hit *hits;  /* owned: (n_threads, panel, capacity) */
    size_t first;    /* number of the panel's first query */
    size_t panel;
    size_t capacity; /* min(k, n_rows) */
} topk_run;

static void emit_topk(void *context, int thread, size_t query, size_t n_queries, size_t at,
                      size_t n_rows, const float *scores, size_t stride) {
    const topk_run *run = context;
    bird_topk *tops = run->tops + (size_t)thread * run->panel + (query - run->first);
    for (size_t i = 0; i < n_queries; i++, scores += stride)
        for (size_t j = 0; j < n_rows; j++)
            if (scores[j] >= tops[i].threshold)
                bird_topk_push(&tops[i], scores[j], (int64_t)(at + j));
}

/* Write the heaps of all threads for one query to its line of the result; `query` is its number in
 * the panel. */
static void write_line(float *scores, int64_t *indices, const topk_run *run,
                       const bird_scan *scan, size_t query, size_t k) {
    bird_topk *all = &run->tops[query];
    for (int t = 1; t < scan->n_threads; t++) {
        const bird_topk *other = &run->tops[(size_t)t * run->panel + query];
        for (size_t i = 0; i < other->count; i++)
            bird_topk_push(all, other->hits[i].score, other->hits[i].row);
    }
    bird_topk_sort(all);
    for (size_t i = 0; i < k; i++) {
        bool there = i < all->count;
        int64_t at = there ? all->hits[i].row : -1;
        scores[i] = there ? all->hits[i].score : -INFINITY;
        indices[i] = there && scan->rows ? scan->rows[at] : at;
    }
}

static bird_status topk_run_init(topk_run *run, const bird_scan *scan, size_t k,
                                 bird_error *err) {
    size_t n_threads = (size_t)scan->n_threads, per_query, bytes;
    run->capacity = k < scan->n_rows ? k : scan->n_rows;
    run->panel = bird_scan_panel(scan);
    if (!bird_size_mul(run->capacity, n_threads * sizeof *run->hits, &per_query)) per_query = 0;
    if (per_query && run->panel > heap_bytes / per_query) run->panel = heap_bytes / per_query;
    if (run->panel < BIRD_DOT_MAX_QUERY_TILE) run->panel = BIRD_DOT_MAX_QUERY_TILE;
    if (run->panel > scan->n_queries) run->panel = scan->n_queries;
    if (bird_size_mul(run->panel, per_query, &bytes)) run->hits = bird_alloc(bytes);
    run->tops = bird_alloc(run->panel * n_threads * sizeof *run->tops);
    if (!run->hits || !run->tops)
        return bird_fail(err, BIRD_NOMEM, "out of memory for the %zu best rows of %zu queries", k,
                         run->panel);
    return BIRD_OK;
}

bird_status bird_cosine_topk(float *scores, int64_t *indices, const bird_scan *scan, size_t k,
                             bird_cancel *cancel, bird_error *err) {
    topk_run run = {0};
    bird_status status;
    if (k < 1) return bird_fail(err, BIRD_ARG, "k must be at least 1, got %zu", k);
    BIRD_TRY(topk_run_init(&run, scan, k, err));
    for (; run.first < scan->n_queries; run.first += run.panel) {
        size_t left = scan->n_queries - run.first;
        size_t n = left < run.panel ? left : run.panel;
        for (size_t i = 0; i < run.panel * (size_t)scan->n_threads; i++)
            bird_topk_init(&run.tops[i], run.hits + i * run.capacity, run.capacity);
        BIRD_TRY(bird_scan_run(scan, run.first, n, emit_topk, &run, cancel, err));
        for (size_t q = 0; q < n; q++)
            write_line(scores + (run.first + q) * k, indices + (run.first + q) * k, &run, scan, q,
                       k);
    }
cleanup:
    bird_free(run.hits);
    bird_free(run.tops);
    return status;
}

typedef struct matrix {
    float *scores; /* (n_queries, n_rows), borrowed from the caller */
    size_t n_rows;
} matrix;

static void emit_matrix(void *context, int thread, size_t query, size_t n_queries, size_t at,
                        size_t n_rows, const float *scores, size_t stride) {
    const matrix *m = context;
    (void)thread;
    for (size_t i = 0; i < n_queries; i++)
        memcpy(m->scores + (query + i) * m->n_rows + at, scores + i * stride,
               n_rows * sizeof *scores);
}

bird_status bird_cosine_matrix(float *scores, const bird_scan *scan, bird_cancel *cancel,
                               bird_error *err) {
    matrix m = {scores, scan->n_rows};
    size_t panel = bird_scan_panel(scan);
    for (size_t first = 0; first < scan->n_queries; first += panel) {
        size_t left = scan->n_queries - first;
        size_t n = left < panel ? left : panel;
        bird_status status = bird_scan_run(scan, first, n, emit_matrix, &m, cancel, err);
        if (status != BIRD_OK) return status;
    }
    return BIRD_OK;
}
