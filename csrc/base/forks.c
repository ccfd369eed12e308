#include "base/forks.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int forks;

static void after_fork_in_child(void) {
    atomic_fetch_add(&forks, 1);
}

static void set_up(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

int bird_fork_count(void) {
    pthread_once(&once, set_up);
    return atomic_load(&forks);
}

bird_status bird_check_forks(int before, bird_error *err) {
    if (bird_fork_count() == before) return BIRD_OK;
    return bird_fail(err, BIRD_BACKEND,
                     "the process was forked during the call; repeat the call in the child");
}
