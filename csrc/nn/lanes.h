/* Several plans at once, each on one thread.
 *
 * Where there is work for all, threads that each run a small batch of their own do not wait
 * for each other at the end of every layer, as threads that share a batch do.
 */
#ifndef BIRD_NN_LANES_H
#define BIRD_NN_LANES_H

#include "base/executor.h"
#include "nn/plan.h"

/* More lanes would cost more memory (a slab each) than they bring. */
enum { BIRD_MAX_LANES = 8 };

/* Execute plans[0 .. n-1], each made for one thread, at the same time on n threads. Stops
 * between primitives where the caller wants to stop; a fork waits for the end. The first
 * error is reported. Compute thread only. */
bird_status bird_lanes_execute(bird_plan *const *plans, int n, bird_job *job, bird_error *err);

#endif
