/* Scores of many queries against a corpus, block by block on several threads.
 *
 * One pass over the corpus serves all queries of a panel and also computes the norms of the rows.
 * The caller processes the scores (`emit`).
 */
#ifndef BIRD_SEARCH_SCAN_H
#define BIRD_SEARCH_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/status.h"
#include "search/dot.h"

/* The queries and the corpus. All pointers are borrowed for the duration of the call. */
typedef struct bird_scan {
    const float *queries; /* (n_queries, dim) */
    size_t n_queries;
    const float *corpus; /* (n_corpus, dim) */
    size_t n_corpus;
    size_t dim;
    const int64_t *rows; /* (n_rows,) rows of the corpus to score, in this order; NULL: all */
    size_t n_rows;
    bool normalized; /* rows have unit length, so the score is the dot product */
    int n_threads;
    const bird_dot *dot;
} bird_scan;

/* Receive the scores of queries `query` .. with the rows at positions `at` .. (in `rows`, or in the
 * corpus): (n_queries, stride), of which the first n_rows of each line are valid. Several threads
 * call this at the same time, for different rows; `thread` is below n_threads. */
typedef void (*bird_emit_fn)(void *context, int thread, size_t query, size_t n_queries, size_t at,
                             size_t n_rows, const float *scores, size_t stride);

/* Return the number of queries that share a pass over the corpus; their packed copies take 64
 * MB. */
size_t bird_scan_panel(const bird_scan *scan);

/* Score the queries first .. first+n-1, at most a panel, with one pass over the corpus. Every pair
 * is emitted once: a cosine, 0 if a vector is zero, NaN if a row contains NaN or infinity. For a
 * query with NaN or infinity, returns BIRD_ARG with its row before anything is emitted. */
bird_status bird_scan_run(const bird_scan *scan, size_t first, size_t n, bird_emit_fn emit,
                          void *context, bird_cancel *cancel, bird_error *err);

#endif
