/* Exact search, with every instruction set. The vectors are integers, so that sums are exact. Also
 * the guarantees about ties, NaN, padding, threads and the number of queries. */
#include "search/cosine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "search/topk.h"

enum { N = 157, NQ = 23, MAX_DIM = 67, K = 9 };

static const size_t dims[] = {1, 3, 8, 15, 16, 17, 33, 64, MAX_DIM};
enum { N_DIMS = sizeof dims / sizeof *dims };

static unsigned state = 1;

static int next_int(int below) {
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)below);
}

/* Fill with small integers, whose dot products are exact in float32. Many of them tie. */
static void fill_integers(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(next_int(7) - 3);
}

static void fill_fractions(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)next_int(100000) / 50000.0f - 1.0f;
}

/* Return a block of exactly this size, so that the address sanitizer sees a read past its end. */
static float *floats(size_t n) {
    return malloc(n * sizeof(float));
}

static bird_scan scan_of(const float *queries, size_t n_queries, const float *corpus, size_t n,
                         size_t dim, const bird_dot *dot) {
    bird_scan scan = {.queries = queries, .n_queries = n_queries, .corpus = corpus,
                      .n_corpus = n,      .dim = dim,             .n_rows = n,
                      .n_threads = 1,     .dot = dot};
    return scan;
}

static float exact_dot(const float *a, const float *b, size_t dim) {
    double sum = 0;
    for (size_t k = 0; k < dim; k++) sum += (double)a[k] * (double)b[k];
    return (float)sum;
}

/* Check against the k best rows of a full stable selection. */
static void check_line(const float *scores, const int64_t *indices, const float *all, size_t n,
                       size_t k) {
    char used[N] = {0};
    for (size_t i = 0; i < k; i++) {
        int64_t best = -1;
        for (size_t r = 0; r < n; r++)
            if (!used[r] && !isnan(all[r]) && (best < 0 || all[r] > all[best])) best = (int64_t)r;
        CHECK(indices[i] == best);
        CHECK(best < 0 ? scores[i] == -INFINITY : scores[i] == all[best]);
        if (best >= 0) used[best] = 1;
    }
}

static void exact_on_integers(const bird_dot *dot) {
    static float scores[NQ * K], matrix[NQ * N], all[N];
    static int64_t indices[NQ * K];
    for (int d = 0; d < N_DIMS; d++) {
        size_t dim = dims[d];
        float *queries = floats(NQ * dim), *corpus = floats(N * dim);
        fill_integers(queries, NQ * dim);
        fill_integers(corpus, N * dim);
        bird_scan scan = scan_of(queries, NQ, corpus, N, dim, dot);
        scan.normalized = true;
        CHECK_OK(bird_cosine_topk(scores, indices, &scan, K, NULL, err));
        CHECK_OK(bird_cosine_matrix(matrix, &scan, NULL, err));
        for (size_t q = 0; q < NQ; q++) {
            for (size_t r = 0; r < N; r++) {
                all[r] = exact_dot(queries + q * dim, corpus + r * dim, dim);
                CHECK(matrix[q * N + r] == all[r]);
            }
            check_line(scores + q * K, indices + q * K, all, N, K);
        }
        free(queries);
        free(corpus);
    }
}

/* One query at a time, many at once, one thread, several threads: the same bits. */
static void same_for_any_batch(const bird_dot *dot) {
    static float one[K], many[NQ * K], threads[NQ * K];
    static int64_t one_at[K], many_at[NQ * K], threads_at[NQ * K];
    for (int d = 0; d < N_DIMS; d++) {
        size_t dim = dims[d], n = 20000;
        float *queries = floats(NQ * dim), *corpus = floats(n * dim);
        fill_fractions(queries, NQ * dim);
        fill_fractions(corpus, n * dim);
        for (int normalized = 0; normalized < 2; normalized++) {
            bird_scan scan = scan_of(queries, NQ, corpus, n, dim, dot);
            scan.normalized = normalized != 0;
            CHECK_OK(bird_cosine_topk(many, many_at, &scan, K, NULL, err));
            scan.n_threads = 5;
            CHECK_OK(bird_cosine_topk(threads, threads_at, &scan, K, NULL, err));
            CHECK(memcmp(many, threads, sizeof many) == 0);
            CHECK(memcmp(many_at, threads_at, sizeof many_at) == 0);
            for (size_t q = 0; q < NQ; q++) {
                scan = scan_of(queries + q * dim, 1, corpus, n, dim, dot);
                scan.normalized = normalized != 0;
                CHECK_OK(bird_cosine_topk(one, one_at, &scan, K, NULL, err));
                CHECK(memcmp(one, many + q * K, sizeof one) == 0);
                CHECK(memcmp(one_at, many_at + q * K, sizeof one_at) == 0);
            }
        }
        free(queries);
        free(corpus);
    }
}

/* Zero, NaN, infinite, tiny and huge rows among ordinary ones, each in every lane of a tile. */
static void odd_rows(const bird_dot *dot) {
    enum { ROWS = 40, DIM = 19 };
    static float corpus[ROWS * DIM], query[3 * DIM], scores[3 * ROWS], row_scores[3 * ROWS];
    static int64_t indices[3 * ROWS];
    static const float scale[5] = {0.0f, 1e-30f, 1e30f, 1.0f, 0x1p-140f};
    float *last = query + 2 * DIM;
    fill_fractions(query, 3 * DIM);
    for (size_t k = 0; k < DIM; k++) query[DIM + k] = query[k] * 0x1p-140f, last[k] = 0.0f;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t k = 0; k < DIM; k++) corpus[r * DIM + k] = query[k] * scale[r % 5];
    for (size_t r = 3; r < ROWS; r += 10) corpus[r * DIM + 7] = NAN;
    for (size_t r = 8; r < ROWS; r += 10) corpus[r * DIM + 18] = r % 20 == 8 ? INFINITY : -INFINITY;
    for (size_t n = 1; n <= 3; n += 2) {
        bird_scan scan = scan_of(query, n, corpus, ROWS, DIM, dot);
        CHECK_OK(bird_cosine_topk(scores, indices, &scan, ROWS, NULL, err));
        CHECK_OK(bird_cosine_matrix(row_scores, &scan, NULL, err));
        for (size_t q = 0; q < n; q++) {
            for (size_t r = 0; r < ROWS; r++) {
                float s = row_scores[q * ROWS + r];
                if (r % 5 == 3)
                    CHECK(isnan(s));
                else if (r % 5 == 0 || q == 2)
                    CHECK(s == 0.0f);
                else if (q == 0 && r % 5 != 4)
                    CHECK(s > 0.999999f);
                else /* subnormal numbers have few digits */
                    CHECK(s > 0.99f);
                CHECK(isnan(s) || fabsf(s) <= 1.0f);
            }
            check_line(scores + q * ROWS, indices + q * ROWS, row_scores + q * ROWS, ROWS, ROWS);
        }
    }
}

static void itself_is_one(const bird_dot *dot) {
    static float x[50 * MAX_DIM], matrix[50 * 50];
    fill_fractions(x, 50 * MAX_DIM);
    for (size_t i = 0; i < 50; i++)
        for (size_t k = 0; k < MAX_DIM; k++) x[i * MAX_DIM + k] *= (float)(i * i) + 0.37f;
    bird_scan scan = scan_of(x, 50, x, 50, MAX_DIM, dot);
    CHECK_OK(bird_cosine_matrix(matrix, &scan, NULL, err));
    for (size_t i = 0; i < 50; i++) {
        CHECK(matrix[i * 50 + i] == 1.0f);
        for (size_t j = 0; j < i; j++) CHECK(matrix[i * 50 + j] == matrix[j * 50 + i]);
    }
}

static void refuses_nan_queries(const bird_dot *dot) {
    static float queries[NQ * 3], corpus[N * 3], scores[NQ];
    static int64_t indices[NQ];
    bird_error found;
    for (int normalized = 0; normalized < 2; normalized++) {
        for (int i = 0; i < 2; i++) {
            fill_fractions(queries, NQ * 3);
            fill_fractions(corpus, N * 3);
            queries[20 * 3 + 1] = i ? INFINITY : NAN;
            bird_scan scan = scan_of(queries, NQ, corpus, N, 3, dot);
            scan.normalized = normalized != 0;
            CHECK(bird_cosine_topk(scores, indices, &scan, 1, NULL, &found) == BIRD_ARG);
            CHECK(strstr(found.message, "row 20 "));
            queries[20 * 3 + 1] = 1e30f; /* large, but finite */
            CHECK_OK(bird_cosine_topk(scores, indices, &scan, 1, NULL, err));
        }
    }
}

static void some_rows(const bird_dot *dot) {
    static float queries[2 * 5], corpus[N * 5], scores[2 * K], all[N];
    static int64_t indices[2 * K], rows[N];
    size_t n_rows = 0;
    fill_integers(queries, 10);
    fill_integers(corpus, N * 5);
    for (int64_t r = 2; r < N; r += 3) rows[n_rows++] = r;
    bird_scan scan = scan_of(queries, 2, corpus, N, 5, dot);
    scan.normalized = true;
    scan.rows = rows;
    scan.n_rows = n_rows;
    CHECK_OK(bird_cosine_topk(scores, indices, &scan, K, NULL, err));
    for (size_t q = 0; q < 2; q++) {
        for (size_t r = 0; r < N; r++)
            all[r] = r % 3 == 2 ? exact_dot(queries + q * 5, corpus + r * 5, 5) : NAN;
        check_line(scores + q * K, indices + q * K, all, N, K);
    }
}

static void edges(void) {
    const bird_dot *dot = bird_dot_best();
    float query[2] = {1, 2}, scores[3];
    int64_t indices[3];
    bird_scan scan = scan_of(query, 1, NULL, 0, 2, dot);
    CHECK_OK(bird_cosine_topk(scores, indices, &scan, 3, NULL, err));
    for (int i = 0; i < 3; i++) CHECK(indices[i] == -1 && scores[i] == -INFINITY);
    CHECK(bird_cosine_topk(scores, indices, &scan, 0, NULL, NULL) == BIRD_ARG);
    scan = scan_of(query, 0, query, 1, 2, dot);
    CHECK_OK(bird_cosine_topk(scores, indices, &scan, 3, NULL, err));
}

/* The same hits are kept for any order of the rows. */
static void topk_any_order(void) {
    enum { M = 200 };
    static float all[M];
    for (int i = 0; i < M; i++) all[i] = i % 17 == 0 ? NAN : (float)next_int(20);
    for (size_t k = 1; k < M; k += 13) {
        for (int step = 1; step < 60; step += 6) { /* coprime to 200 */
            bird_hit hits[M], kept[M];
            bird_topk top;
            bird_topk_init(&top, hits, k);
            for (int i = 0; i < M; i++) {
                int at = i * (step % 5 == 0 ? 1 : step) % M;
                bird_topk_push(&top, all[at], at);
            }
            bird_topk_sort(&top);
            if (step == 1) memcpy(kept, hits, sizeof hits);
            for (size_t i = 0; i < top.count; i++) {
                CHECK(hits[i].row == kept[i].row);
                if (i)
                    CHECK(hits[i - 1].score > hits[i].score ||
                          (hits[i - 1].score == hits[i].score && hits[i - 1].row < hits[i].row));
            }
        }
    }
}

static bool always(void *context) {
    (void)context;
    return true;
}

static void cancels(void) {
    enum { BIG = 200000, DIM = 64 };
    float *corpus = calloc(BIG, DIM * sizeof(float)), query[DIM] = {1}, scores[1];
    int64_t indices[1];
    bird_cancel cancel;
    bird_scan scan = scan_of(query, 1, corpus, BIG, DIM, bird_dot_best());
    bird_cancel_init(&cancel, always, NULL);
    cancel.next_poll_ns = 0;
    CHECK(bird_cosine_topk(scores, indices, &scan, 1, &cancel, NULL) == BIRD_CANCELLED);
    free(corpus);
}

static void survives_failed_allocations(void) {
    static float queries[NQ * 5], corpus[N * 5], scores[NQ * K];
    static int64_t indices[NQ * K];
    bird_status status = BIRD_NOMEM;
    fill_integers(queries, NQ * 5);
    fill_integers(corpus, N * 5);
    bird_scan scan = scan_of(queries, NQ, corpus, N, 5, bird_dot_best());
    int failed = 0;
    for (long n = 1; status == BIRD_NOMEM && n < 100; n++) {
        bird_alloc_fail_at(n);
        status = bird_cosine_topk(scores, indices, &scan, K, NULL, NULL);
        failed += status == BIRD_NOMEM;
    }
    bird_alloc_fail_at(0);
    CHECK(status == BIRD_OK && failed >= 4);
}

int main(void) {
    int n_kernels = 0;
    for (; bird_dot_at(n_kernels); n_kernels++) {
        const bird_dot *dot = bird_dot_at(n_kernels);
        int before = check_failures;
        exact_on_integers(dot);
        same_for_any_batch(dot);
        odd_rows(dot);
        itself_is_one(dot);
        refuses_nan_queries(dot);
        some_rows(dot);
        if (check_failures > before) fprintf(stderr, "  ... with %s\n", dot->isa);
    }
    CHECK(n_kernels >= 1 && strcmp(bird_dot_at(n_kernels - 1)->isa, "portable") == 0);
    edges();
    topk_any_order();
    cancels();
    survives_failed_allocations();
    return check_failures;
}
