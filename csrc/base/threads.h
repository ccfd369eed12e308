/* The number of threads of the process, and a parallel loop.
 *
 * The loop starts its threads and joins them before it returns, so a fork never finds an
 * unfinished loop. Starting a thread takes about 20 microseconds, while the shortest item
 * (a small JPEG) takes 500.
 */
#ifndef BIRD_BASE_THREADS_H
#define BIRD_BASE_THREADS_H

#include <stddef.h>

#include "base/cancel.h"
#include "base/status.h"

enum { BIRD_MAX_THREADS = 1024 };

/* Return min(CPU affinity, cgroup quota rounded up), at least 1. Read again in each call. */
int bird_available_cpus(void);

/* Return the number set by bird_set_threads, else the first one in OMP_NUM_THREADS, else
 * bird_available_cpus. */
int bird_default_threads(void);

/* Return n_threads if it is positive, at most BIRD_MAX_THREADS; otherwise bird_default_threads. */
int bird_threads_or_default(int n_threads);

/* Set the number for the process; 0 restores the default. */
bird_status bird_set_threads(int n_threads, bird_error *err);

/* One item of a parallel loop. `thread` is 0 .. n_threads-1 (an index for scratch). */
typedef void (*bird_item_fn)(void *context, size_t item, int thread);

/* Run fn for 0 .. n_items-1 on up to n_threads threads, including that of the caller.
 * Items are assigned one by one in order, each exactly once. fn reports results through context.
 * Returns BIRD_CANCELLED if the hook returned true (started items are finished first). If a thread
 * cannot be started, fewer are used. BIRD_BACKEND in a child that the hook forked. */
bird_status bird_parallel_for(size_t n_items, int n_threads, bird_item_fn fn, void *context,
                              bird_cancel *cancel, bird_error *err);

#endif
