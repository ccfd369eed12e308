/* OpenMP's threads of the compute thread. Where the system refuses one, OpenMP ends the process: so
 * they are had before they are needed, and jobs make do with as many as there are. */
#ifndef BIRD_NN_TEAM_H
#define BIRD_NN_TEAM_H

#include "base/status.h"

/* n threads, or as many as the system gives, the caller's included. Compute thread only. */
int bird_team_size(int n);

/* BIRD_IO where the system does not give n threads. Compute thread only. */
bird_status bird_team_require(int n, bird_error *err);

/* The first time that fewer threads came than were asked for: fills both and returns 1, once in
 * the process. Any thread. */
int bird_team_shortage(int *wanted, int *given);

#endif
