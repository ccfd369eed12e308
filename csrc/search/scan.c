#include "search/scan.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/threads.h"
#include "search/cosines.h"

enum {
    PANEL_BYTES = 64 << 20, /* packed queries of a panel */
    CHUNK_BYTES = 1 << 20,  /* packed queries between two tiles of rows: they stay in L2 */
    BLOCK_BYTES = 512 << 10 /* rows per work item: short enough for Ctrl-C, and in L2 */
};

/* One panel of queries in the form that the kernels need. */
typedef struct panel {
    const bird_scan *scan; /* borrowed from the caller */
    bird_emit_fn emit;
    void *context; /* borrowed from the caller */
    size_t first;  /* number of the panel's first query */
    size_t n_queries;
    size_t query_tile; /* 1 for a single query, else that of the kernels */
    size_t n_vectors;  /* vectors per packed query */
    float *packed;     /* owned: (groups, n_vectors, query_tile, lanes) */
    float *squares;    /* owned: (groups, query_tile), 1 past the last query */
    size_t block;      /* rows per work item */
    size_t chunk;      /* queries between two tiles of rows, a multiple of query_tile */
    unsigned char *scratch; /* owned: (n_threads, scratch_bytes) */
    size_t scratch_bytes;
} panel;

/* The memory of one thread; all parts of its share of `scratch`. */
typedef struct scratch {
    float *packed;  /* (n_vectors, row_tile, lanes) */
    float *rescued; /* (BIRD_DOT_SINGLE_ROWS, dim), each row aligned */
    float *scores;  /* (chunk, row_tile) or (1, BIRD_DOT_SINGLE_ROWS) */
} scratch;

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

static size_t at_least(size_t n, size_t least) {
    return n < least ? least : n;
}

/* Return true for squares that multiply without overflow or lost digits. The same then holds for
 * the dot products of such vectors. */
static bool ordinary(float square) {
    return square >= 0x1p-40f && square <= 0x1p40f;
}

/* For a vector that is not `ordinary`: write copy (dim,) = x times a power of two, which is exact.
 * Return false if this does not help: x is zero or contains NaN or infinity, so its scores are 0 or
 * NaN anyway. */
static bool rescue(float *copy, const float *x, size_t dim) {
    float largest = 0.0f;
    int exponent;
    for (size_t k = 0; k < dim; k++) {
        float a = fabsf(x[k]);
        if (!(a <= FLT_MAX)) return false;
        if (a > largest) largest = a;
    }
    if (largest == 0.0f) return false;
    frexpf(largest, &exponent);
    for (size_t k = 0; k < dim; k++) copy[k] = scalbnf(x[k], -exponent);
    return true;
}

/* Replace the rows that need it by copies (BIRD_DOT_SINGLE_ROWS, dim rounded up). Returns true if
 * there was one; the caller then computes the tile again. */
static bool rescue_tile(const float **rows, const float *squares, size_t n, float *copies,
                        size_t dim) {
    size_t stride = round_up(dim, BIRD_DOT_MAX_LANES);
    bool copied = false;
    for (size_t j = 0; j < n; j++) {
        if (ordinary(squares[j]) || !rescue(copies + j * stride, rows[j], dim)) continue;
        rows[j] = copies + j * stride;
        copied = true;
    }
    return copied;
}

static scratch scratch_of(const panel *p, int thread) {
    const bird_scan *scan = p->scan;
    scratch s;
    s.packed = (float *)(p->scratch + (size_t)thread * p->scratch_bytes);
    s.rescued = s.packed + p->n_vectors * scan->dot->row_tile * scan->dot->lanes;
    s.scores = s.rescued + BIRD_DOT_SINGLE_ROWS * round_up(scan->dim, BIRD_DOT_MAX_LANES);
    return s;
}

static const float *row_at(const bird_scan *scan, size_t at) {
    size_t row = scan->rows ? (size_t)scan->rows[at] : at;
    return scan->corpus + row * scan->dim;
}

/* Point at rows at .. at+n-1; the rest of the tile repeats the last one. */
static void point_at_rows(const float **rows, const bird_scan *scan, size_t at, size_t n,
                          size_t tile) {
    for (size_t j = 0; j < tile; j++) rows[j] = row_at(scan, at + (j < n ? j : n - 1));
}

/* Score one query with rows that are read directly from the corpus. */
static void single_tile(const panel *p, const scratch *s, int thread, size_t at, size_t n) {
    const bird_scan *scan = p->scan;
    const float *rows[BIRD_DOT_SINGLE_ROWS];
    float squares[BIRD_DOT_SINGLE_ROWS];
    point_at_rows(rows, scan, at, n, BIRD_DOT_SINGLE_ROWS);
    scan->dot->single(s->scores, scan->normalized ? NULL : squares, p->packed, rows, scan->dim);
    if (!scan->normalized) {
        if (rescue_tile(rows, squares, n, s->rescued, scan->dim))
            scan->dot->single(s->scores, squares, p->packed, rows, scan->dim);
        bird_cosine_tile(s->scores, p->squares, squares, 1, BIRD_DOT_SINGLE_ROWS);
    }
    p->emit(p->context, thread, p->first, 1, at, n, s->scores, BIRD_DOT_SINGLE_ROWS);
}

/* Score a tile of packed rows with the queries `from` .. `to`-1 of the panel. */
static void packed_tile(const panel *p, const scratch *s, int thread, size_t from, size_t to,
                        size_t at, size_t n) {
    const bird_scan *scan = p->scan;
    const bird_dot *dot = scan->dot;
    const float *rows[BIRD_DOT_MAX_ROW_TILE];
    float squares[BIRD_DOT_MAX_ROW_TILE];
    size_t group = p->n_vectors * dot->query_tile * dot->lanes;
    point_at_rows(rows, scan, at, n, dot->row_tile);
    bird_dot_pack(s->packed, rows, dot->row_tile, dot->row_tile, dot->lanes, scan->dim);
    if (!scan->normalized) {
        dot->squares(squares, s->packed, p->n_vectors);
        if (rescue_tile(rows, squares, n, s->rescued, scan->dim)) {
            bird_dot_pack(s->packed, rows, dot->row_tile, dot->row_tile, dot->lanes, scan->dim);
            dot->squares(squares, s->packed, p->n_vectors);
        }
    }
    for (size_t q = from; q < to; q += dot->query_tile) {
        float *scores = s->scores + (q - from) * dot->row_tile;
        dot->tile(scores, p->packed + q / dot->query_tile * group, s->packed, p->n_vectors);
        if (!scan->normalized) dot->cosines(scores, p->squares + q, squares);
    }
    p->emit(p->context, thread, p->first + from, to - from, at, n, s->scores, dot->row_tile);
}

static void scan_block(void *context, size_t item, int thread) {
    const panel *p = context;
    const scratch s = scratch_of(p, thread);
    size_t tile = p->query_tile == 1 ? BIRD_DOT_SINGLE_ROWS : p->scan->dot->row_tile;
    size_t begin = item * p->block, end = begin + p->block;
    if (end > p->scan->n_rows) end = p->scan->n_rows;
    for (size_t from = 0; from < p->n_queries; from += p->chunk) {
        size_t to = from + p->chunk < p->n_queries ? from + p->chunk : p->n_queries;
        for (size_t at = begin; at < end; at += tile) {
            size_t n = end - at < tile ? end - at : tile;
            if (p->query_tile == 1)
                single_tile(p, &s, thread, at, n);
            else
                packed_tile(p, &s, thread, from, to, at, n);
        }
    }
}

/* Return the dot product of a vector with itself, in the kernels' order of summation. `packed` is
 * scratch for one packed vector. */
static float square_of(const bird_dot *dot, float *packed, const float *x, size_t dim) {
    const float *rows[BIRD_DOT_SINGLE_ROWS];
    float squares[BIRD_DOT_SINGLE_ROWS];
    for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) rows[j] = x;
    bird_dot_pack(packed, rows, 1, 1, dot->lanes, dim);
    dot->single(squares, NULL, packed, rows, dim);
    return squares[0];
}

/* Pack the queries of the panel, scaling very large or small ones; fail if one is not finite. */
static bird_status pack_queries(panel *p, bird_error *err) {
    const bird_scan *scan = p->scan;
    const bird_dot *dot = scan->dot;
    size_t tile = p->query_tile, group = p->n_vectors * tile * dot->lanes;
    const scratch s = scratch_of(p, 0);
    for (size_t q = 0; q < p->n_queries; q += tile) {
        const float *rows[BIRD_DOT_MAX_QUERY_TILE];
        size_t n = p->n_queries - q < tile ? p->n_queries - q : tile;
        for (size_t i = 0; i < tile; i++) p->squares[q + i] = 1.0f;
        for (size_t i = 0; i < n; i++) {
            float *copy = s.rescued + i * round_up(scan->dim, BIRD_DOT_MAX_LANES);
            rows[i] = scan->queries + (p->first + q + i) * scan->dim;
            float square = square_of(dot, s.packed, rows[i], scan->dim);
            if (!ordinary(square) && rescue(copy, rows[i], scan->dim)) {
                square = square_of(dot, s.packed, copy, scan->dim);
                if (!scan->normalized) rows[i] = copy;
            }
            if (!isfinite(square))
                return bird_fail(err, BIRD_ARG,
                                 "queries: row %zu contains NaN or infinity; remove it",
                                 p->first + q + i);
            p->squares[q + i] = square;
        }
        bird_dot_pack(p->packed + q / tile * group, rows, n, tile, dot->lanes, scan->dim);
    }
    return BIRD_OK;
}

static void panel_deinit(panel *p) {
    bird_free(p->packed);
    bird_free(p->squares);
    bird_free(p->scratch);
}

/* Compute the sizes and allocate. The products cannot overflow, because the packed queries fit in a
 * panel. */
static bird_status panel_init(panel *p, int n_threads, bird_error *err) {
    const bird_scan *scan = p->scan;
    const bird_dot *dot = scan->dot;
    size_t row_bytes = round_up(scan->dim, BIRD_DOT_MAX_LANES) * sizeof(float);
    size_t padded, floats;
    p->query_tile = p->n_queries == 1 ? 1 : dot->query_tile;
    p->n_vectors = round_up(scan->dim, dot->lanes) / dot->lanes;
    padded = round_up(p->n_queries, p->query_tile);
    p->chunk = at_least(CHUNK_BYTES / row_bytes / p->query_tile, 1) * p->query_tile;
    p->block = round_up(at_least(BLOCK_BYTES / row_bytes, 1),
                        p->query_tile == 1 ? BIRD_DOT_SINGLE_ROWS : dot->row_tile);
    floats = (dot->row_tile + BIRD_DOT_SINGLE_ROWS) * row_bytes / sizeof(float);
    floats += at_least((p->chunk < padded ? p->chunk : padded) * dot->row_tile,
                       BIRD_DOT_SINGLE_ROWS);
    p->scratch_bytes = bird_aligned_size(floats * sizeof(float));
    p->packed = bird_alloc(padded * row_bytes);
    p->squares = bird_alloc(padded * sizeof *p->squares);
    p->scratch = bird_alloc((size_t)n_threads * p->scratch_bytes);
    if (!p->packed || !p->squares || !p->scratch)
        return bird_fail(err, BIRD_NOMEM, "out of memory for %zu queries of %zu numbers",
                         p->n_queries, scan->dim);
    return BIRD_OK;
}

size_t bird_scan_panel(const bird_scan *scan) {
    size_t row_bytes = round_up(scan->dim, BIRD_DOT_MAX_LANES) * sizeof(float);
    return at_least(PANEL_BYTES / row_bytes, BIRD_DOT_MAX_QUERY_TILE);
}

/* Starting a thread is worthwhile for at least about 100 microseconds of work. */
static int useful_threads(const bird_scan *scan, size_t n_queries) {
    double products = (double)scan->n_rows * (double)scan->dim * (double)n_queries;
    double useful = products / 1e6 + 1.0;
    return useful < scan->n_threads ? (int)useful : scan->n_threads;
}

bird_status bird_scan_run(const bird_scan *scan, size_t first, size_t n, bird_emit_fn emit,
                          void *context, bird_cancel *cancel, bird_error *err) {
    panel p = {.scan = scan, .emit = emit, .context = context, .first = first, .n_queries = n};
    int n_threads = useful_threads(scan, n);
    bird_status status;
    BIRD_TRY(panel_init(&p, n_threads, err));
    BIRD_TRY(pack_queries(&p, err));
    BIRD_TRY(bird_parallel_for((scan->n_rows + p.block - 1) / p.block, n_threads, scan_block, &p,
                               cancel, err));
cleanup:
    panel_deinit(&p);
    return status;
}
