#include "train/reductions.h"

#include <math.h>

#include "base/threads.h"

/* PIECE: floats per work item. MAX_PIECES: items at a time, because their results are on the
 * stack. */
enum { PIECE = 1 << 16, MAX_PIECES = 512 };

typedef struct reading {
    const float *values; /* borrowed from the caller (count) */
    size_t count;
    double found[MAX_PIECES];
} reading;

static double sum_of_squares(const float *values, size_t count) {
    double lanes[8] = {0}, sum = 0; /* several sums at once, in a fixed order */
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            lanes[lane] += (double)values[i + lane] * (double)values[i + lane];
    for (size_t lane = 0; i < count; i++, lane++)
        lanes[lane] += (double)values[i] * (double)values[i];
    for (size_t lane = 0; lane < 8; lane++) sum += lanes[lane];
    return sum;
}

static void read_piece(void *context, size_t item, int thread) {
    reading *todo = context;
    const size_t begin = item * PIECE, left = todo->count - begin;
    (void)thread;
    todo->found[item] = sum_of_squares(todo->values + begin, left < PIECE ? left : PIECE);
}

static double total(const float *values, size_t count, int n_threads) {
    double result = 0;
    for (size_t begin = 0; begin < count; begin += (size_t)MAX_PIECES * PIECE) {
        reading todo = {.values = values + begin, .count = count - begin};
        if (todo.count > (size_t)MAX_PIECES * PIECE) todo.count = (size_t)MAX_PIECES * PIECE;
        const size_t pieces = (todo.count + PIECE - 1) / PIECE;
        /* Threads are not worthwhile for few values; without memory for threads, use one. */
        if (pieces < 4 || bird_parallel_for(pieces, n_threads, read_piece, &todo, NULL, NULL))
            for (size_t piece = 0; piece < pieces; piece++) read_piece(&todo, piece, 0);
        for (size_t piece = 0; piece < pieces; piece++) result += todo.found[piece];
    }
    return result;
}

double bird_grad_norm(const float *grads, const bird_params *params, const bool *trainable,
                      int n_threads) {
    double sum = 0;
    for (int i = 0; i < params->n; i++)
        if (trainable[i])
            sum += total(grads + params->items[i].offset, params->items[i].count, n_threads);
    return sqrt(sum);
}
