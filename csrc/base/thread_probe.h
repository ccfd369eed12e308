/* How many threads the system would start: a limit on processes (ulimit -u, a container's pids)
 * makes OpenMP end the process where it cannot have the threads that it wants. */
#ifndef BIRD_BASE_THREAD_PROBE_H
#define BIRD_BASE_THREAD_PROBE_H

#include <stdbool.h>

/* Start up to n threads at once and let them end; returns how many there were. Until
 * bird_probe_end no thread of bird_parallel_for begins, so that they are to be had once more. One
 * thread at a time; not around a fork. */
int bird_probe_begin(int n);
void bird_probe_end(void);

/* Around the start of other threads: false while a probe is on, and then none may be started.
 * To be ended where it was true. */
bool bird_starting_begin(void);
void bird_starting_end(void);

#endif
