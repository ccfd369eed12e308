/* Whether the process was forked while a call ran: a signal handler of the host may do that, and
 * then the call goes on in the child, where the threads that it waits for do not exist. */
#ifndef BIRD_BASE_FORKS_H
#define BIRD_BASE_FORKS_H

#include <stdbool.h>

#include "base/status.h"

/* A number of this process: how many forks lie between the first one that asked and this one. */
int bird_fork_count(void);

/* BIRD_OK while bird_fork_count is `before`; afterwards BIRD_BACKEND: the call cannot be finished
 * here, only repeated. */
bird_status bird_check_forks(int before, bird_error *err);

#endif
