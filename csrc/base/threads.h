/* How many threads the process may use, and a parallel loop that uses them.
 *
 * The loop starts its threads and joins them before it returns: nothing is left that a
 * fork could find half-way, and a start costs some 20 microseconds where the shortest
 * item (a small JPEG) costs 500.
 */
#ifndef BIRD_BASE_THREADS_H
#define BIRD_BASE_THREADS_H

#include <stddef.h>

#include "base/cancel.h"
#include "base/status.h"

enum { BIRD_MAX_THREADS = 1024 };

/* min(CPU affinity, cgroup quota rounded up), at least 1. Read afresh at each call. */
int bird_available_cpus(void);

/* bird_set_threads' number, else OMP_NUM_THREADS' first number, else bird_available_cpus. */
int bird_default_threads(void);

/* A call's own number where it is positive, at most BIRD_MAX_THREADS; else bird_default_threads. */
int bird_threads_or_default(int n_threads);

/* Set the process-wide number; 0 gives the choice back to the environment. */
bird_status bird_set_threads(int n_threads, bird_error *err);

/* One item of a parallel loop. `thread` is 0 .. n_threads-1 (an index for scratch). */
typedef void (*bird_item_fn)(void *context, size_t item, int thread);

/* Run fn for 0 .. n_items-1 on up to n_threads threads, the caller's being one of them.
 * Items are handed out one by one in order, each exactly once. fn reports through context.
 * Returns BIRD_CANCELLED where the hook said stop (items begun are finished first). A thread
 * that cannot be started is done without. BIRD_BACKEND in a child that the hook forked. */
bird_status bird_parallel_for(size_t n_items, int n_threads, bird_item_fn fn, void *context,
                              bird_cancel *cancel, bird_error *err);

#endif
