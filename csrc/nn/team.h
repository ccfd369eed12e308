/* The OpenMP threads of the compute thread. If the system refuses a thread, OpenMP ends the
 * process. So threads are started before they are needed, and jobs use as many as there are. */
#ifndef BIRD_NN_TEAM_H
#define BIRD_NN_TEAM_H

#include "base/status.h"

/* Start n threads, or as many as the system gives. Return their number, including the caller.
 * Compute thread only. */
int bird_team_size(int n);

/* Return BIRD_IO if the system does not give n threads. Compute thread only. */
bird_status bird_team_require(int n, bird_error *err);

/* Return 1 once per process, after the system gave fewer threads than wanted, and fill in both
 * numbers. Otherwise return 0. Any thread. */
int bird_team_shortage(int *wanted, int *given);

#endif
