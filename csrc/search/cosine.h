/* Cosine similarity: the whole matrix, or the k nearest rows of each query. */
#ifndef BIRD_SEARCH_COSINE_H
#define BIRD_SEARCH_COSINE_H

#include "search/scan.h"

/* Write to scores and indices (n_queries, k) the k best rows of each query, best first; in a tie,
 * first the row that comes first in scan->rows. indices are positions in the corpus. Rows with
 * score NaN are omitted; if there are fewer than k rows, the rest is -inf and -1. */
bird_status bird_cosine_topk(float *scores, int64_t *indices, const bird_scan *scan, size_t k,
                             bird_cancel *cancel, bird_error *err);

/* Write scores (n_queries, n_rows) of all pairs; NaN if the row contains NaN or infinity. */
bird_status bird_cosine_matrix(float *scores, const bird_scan *scan, bird_cancel *cancel,
                               bird_error *err);

#endif
