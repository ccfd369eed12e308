/* The whole test framework: checks that count failures and continue. */
#ifndef BIRD_TESTS_CHECK_H
#define BIRD_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int check_failures;

/* Return whether slow tests must try every case and not only some, as in `make test-all`. */
static inline bool check_every_case(void) {
    return getenv("BIRDEMBED_EVERY_CASE") != NULL;
}

/* ThreadSanitizer does not support threads after a fork. */
#ifdef __SANITIZE_THREAD__
enum { THREADS_SURVIVE_FORKS = 0 };
#else
enum { THREADS_SURVIVE_FORKS = 1 };
#endif

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);  \
            check_failures++;                                                        \
        }                                                                            \
    } while (0)

#define CHECK_OK(expression)                                                         \
    do {                                                                             \
        bird_error check_err = {0};                                                  \
        bird_error *err = &check_err;                                                \
        if ((expression) != BIRD_OK) {                                               \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #expression,      \
                    check_err.message);                                              \
            check_failures++;                                                        \
        }                                                                            \
    } while (0)

#endif
