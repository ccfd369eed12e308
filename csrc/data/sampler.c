#include "data/sampler.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

void bird_sampler_shuffled(int64_t *draws, size_t n, uint64_t seed, uint64_t epoch) {
    bird_rng rng = bird_rng_stream(seed, BIRD_STREAM_ORDER, epoch, 0);
    for (size_t i = 0; i < n; i++) draws[i] = (int64_t)i;
    bird_rng_shuffle(draws, n, &rng);
}

/* Sort the samples by class: class c has members[begin[c] .. begin[c+1]-1]. */
static bird_status sort_by_class(int64_t *members, size_t *begin, const int64_t *labels, size_t n,
                                 size_t n_classes, bird_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0 || (uint64_t)labels[i] >= n_classes)
            return bird_fail(err, BIRD_ARG, "label %" PRId64 " of sample %zu is not 0 to %zu",
                             labels[i], i, n_classes - 1);
        begin[labels[i] + 1]++;
    }
    for (size_t c = 0; c < n_classes; c++) begin[c + 1] += begin[c];
    /* Fill from the back, so that the end of each class moves down to its start. */
    for (size_t i = n; i-- > 0;) members[--begin[labels[i] + 1]] = (int64_t)i;
    memmove(begin, begin + 1, n_classes * sizeof *begin);
    begin[n_classes] = n;
    return BIRD_OK;
}

/* Draw `quota` samples from a class of m samples, with a new permutation after each m draws. */
static void draw_class(int64_t *draws, int64_t *members, size_t m, size_t quota, size_t n,
                       bird_rng *rng) {
    for (size_t taken = 0; taken < quota; taken++) {
        if (taken % m == 0) bird_rng_shuffle(members, m, rng);
        draws[taken] = members[taken % m] + (int64_t)(taken / m * n);
    }
}

bird_status bird_sampler_balanced(int64_t *draws, const int64_t *labels, size_t n,
                                  size_t n_classes, uint64_t seed, uint64_t epoch,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    bird_rng rng = bird_rng_stream(seed, BIRD_STREAM_ORDER, epoch, 0);
    size_t n_there = 0, filled = 0;
    int64_t *members = bird_alloc(n * sizeof *members);
    int64_t *mine = bird_alloc(n * sizeof *mine); /* others may write to that of the caller */
    int64_t *there = bird_calloc(n_classes, sizeof *there); /* classes that occur */
    size_t *begin = bird_calloc(n_classes + 1, sizeof *begin);
    if (!members || !mine || !there || !begin)
        BIRD_FAIL(BIRD_NOMEM, "out of memory for an epoch of %zu samples", n);
    memcpy(mine, labels, n * sizeof *mine);
    BIRD_TRY(sort_by_class(members, begin, mine, n, n_classes, err));
    for (size_t c = 0; c < n_classes; c++)
        if (begin[c + 1] > begin[c]) there[n_there++] = (int64_t)c;
    /* The first classes of this order get the remaining draws. */
    bird_rng_shuffle(there, n_there, &rng);
    for (size_t i = 0; i < n_there; i++) {
        size_t c = (size_t)there[i], quota = n / n_there + (i < n % n_there);
        bird_rng own = bird_rng_stream(seed, BIRD_STREAM_CLASS, epoch, c);
        draw_class(draws + filled, members + begin[c], begin[c + 1] - begin[c], quota, n, &own);
        filled += quota;
    }
    bird_rng_shuffle(draws, n, &rng);
cleanup:
    bird_free(members);
    bird_free(mine);
    bird_free(there);
    bird_free(begin);
    return status;
}
