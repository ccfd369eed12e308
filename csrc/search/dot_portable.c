/* Plain C with eight lanes, for machines without AVX2; compilers can vectorise it. */
#include "search/dot.h"

#include "search/cosines.h"

enum { LANES = 8, QUERIES = 2, ROWS = 2 };

/* Add lanes 0+4, then 0+2, then 0+1: the fixed tree. */
static float sum_lanes(const float *a) {
    float b[4];
    for (int i = 0; i < 4; i++) b[i] = a[i] + a[i + 4];
    return (b[0] + b[2]) + (b[1] + b[3]);
}

static void tile(float *scores, const float *queries, const float *rows, size_t n_vectors) {
    float sums[QUERIES][ROWS][LANES] = {0};
    for (size_t v = 0; v < n_vectors; v++) {
        for (int i = 0; i < QUERIES; i++)
            for (int j = 0; j < ROWS; j++)
                for (int l = 0; l < LANES; l++)
                    sums[i][j][l] += queries[i * LANES + l] * rows[j * LANES + l];
        queries += QUERIES * LANES;
        rows += ROWS * LANES;
    }
    for (int i = 0; i < QUERIES; i++)
        for (int j = 0; j < ROWS; j++) scores[i * ROWS + j] = sum_lanes(sums[i][j]);
}

static void squares(float *sums_out, const float *rows, size_t n_vectors) {
    float sums[ROWS][LANES] = {0};
    for (size_t v = 0; v < n_vectors; v++)
        for (int j = 0; j < ROWS; j++)
            for (int l = 0; l < LANES; l++) {
                float x = rows[(v * ROWS + j) * LANES + l];
                sums[j][l] += x * x;
            }
    for (int j = 0; j < ROWS; j++) sums_out[j] = sum_lanes(sums[j]);
}

static void single(float *scores, float *squares_out, const float *query,
                   const float *const *rows, size_t dim) {
    for (int j = 0; j < BIRD_DOT_SINGLE_ROWS; j++) {
        float sums[LANES] = {0}, selves[LANES] = {0};
        const float *row = rows[j];
        size_t k = 0;
        for (; k + LANES <= dim; k += LANES)
            for (int l = 0; l < LANES; l++) {
                float x = row[k + l];
                sums[l] += query[k + l] * x;
                selves[l] += x * x;
            }
        for (int l = 0; k < dim; k++, l++) {
            sums[l] += query[k] * row[k];
            selves[l] += row[k] * row[k];
        }
        scores[j] = sum_lanes(sums);
        if (squares_out) squares_out[j] = sum_lanes(selves);
    }
}

static void cosines(float *scores, const float *query_squares, const float *row_squares) {
    bird_cosine_tile(scores, query_squares, row_squares, QUERIES, ROWS);
}

const bird_dot bird_dot_portable = {"portable", LANES,   QUERIES, ROWS,
                                    tile,       squares, single,  cosines};
