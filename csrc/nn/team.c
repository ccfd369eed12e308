#include "nn/team.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/thread_probe.h"

/* How many threads OpenMP keeps: the size of its last parallel region with more than one thread.
 * The variable belongs to the compute thread; a forked child has a new compute thread and starts
 * with none. */
static _Thread_local int team;

static atomic_int short_wanted, short_given; /* the first shortage; wanted -1: reported */

static void note_shortage(int wanted, int given) {
    int none = 0;
    if (atomic_load(&short_wanted) != 0) return;
    atomic_store(&short_given, given);
    atomic_compare_exchange_strong(&short_wanted, &none, wanted);
}

int bird_team_size(int n) {
    int there = team > 0 ? team : 1, given = n;
    if (n <= 1 || n == team) return n;
    if (n > there) {
        given = there + bird_probe_begin(n - there);
        if (given > 1 && given != team) {
            /* The threads are started here, while no other code starts any. */
#pragma omp parallel num_threads(given)
            {
            }
            team = given;
        }
        bird_probe_end();
        if (given < n) note_shortage(n, given);
    } else {
        team = n;
    }
    return given;
}

bird_status bird_team_require(int n, bird_error *err) {
    int given = bird_team_size(n);
    if (given >= n) return BIRD_OK;
    return bird_fail_io(err, EAGAIN, "the system gives %d of %d threads", given, n);
}

int bird_team_shortage(int *wanted, int *given) {
    int seen = atomic_load(&short_wanted);
    if (seen <= 0 || !atomic_compare_exchange_strong(&short_wanted, &seen, -1)) return 0;
    *wanted = seen;
    *given = atomic_load(&short_given);
    return 1;
}
