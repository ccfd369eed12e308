/* Detect whether the process was forked during a call. A signal handler of the host may fork; the
 * call then continues in the child, where the threads it waits for do not exist. */
#ifndef BIRD_BASE_FORKS_H
#define BIRD_BASE_FORKS_H

#include <stdbool.h>

#include "base/status.h"

/* Return the number of forks between the first process that called this and this process. */
int bird_fork_count(void);

/* Return BIRD_OK if bird_fork_count is still `before`, else BIRD_BACKEND: the call cannot be
 * finished in this process, only repeated. */
bird_status bird_check_forks(int before, bird_error *err);

#endif
