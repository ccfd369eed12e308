/* Find out how many threads the system can start. With a limit on processes (ulimit -u, pids of a
 * container), OpenMP ends the process if it cannot start its threads. */
#ifndef BIRD_BASE_THREAD_PROBE_H
#define BIRD_BASE_THREAD_PROBE_H

#include <stdbool.h>

/* Start up to n threads at the same time, let them end, and return their number. Until
 * bird_probe_end, bird_parallel_for starts no threads, so that this number stays available. One
 * caller at a time; not around a fork. */
int bird_probe_begin(int n);
void bird_probe_end(void);

/* Call this before starting other threads. If it returns false, a probe is running: do not start
 * any. If it returns true, call bird_starting_end afterwards. */
bool bird_starting_begin(void);
void bird_starting_end(void);

#endif
