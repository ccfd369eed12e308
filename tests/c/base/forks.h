/* A cancel hook that forks, as a signal handler of the host may. */
#ifndef BIRD_TESTS_BASE_FORKS_H
#define BIRD_TESTS_BASE_FORKS_H

#include <stdbool.h>
#include <unistd.h>

/* `context` is a pid_t, below 0 until the fork. Nothing is cancelled. */
static bool fork_once(void *context) {
    pid_t *child = context;
    if (*child < 0) *child = fork();
    return false;
}

#endif
