/* Execute several plans at the same time, each on one thread.
 *
 * Threads that share a batch wait for each other at the end of every layer. Threads that each run a
 * small batch of their own do not, which is faster if there is work for all of them.
 */
#ifndef BIRD_NN_LANES_H
#define BIRD_NN_LANES_H

#include "base/executor.h"
#include "nn/plan.h"

/* With more lanes the memory (one slab each) costs more than the speed is worth. */
enum { BIRD_MAX_LANES = 8 };

/* Execute plans[0 .. n-1], each made for one thread, at the same time on n threads. Stops between
 * primitives if the caller asks to stop; a fork waits until all have finished. The first error is
 * reported. Compute thread only. */
bird_status bird_lanes_execute(bird_plan *const *plans, int n, bird_job *job, bird_error *err);

#endif
