#include "base/cancel.h"

#include <stddef.h>
#include <time.h>

/* Half of the 100 ms for which a waiting caller may ignore Ctrl-C, because work items take time
 * too. */
static const int64_t poll_interval_ns = 50 * 1000 * 1000;

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bird_cancel_init(bird_cancel *cancel, bool (*poll)(void *context), void *context) {
    cancel->poll = poll;
    cancel->context = context;
    cancel->next_poll_ns = monotonic_ns() + poll_interval_ns;
    atomic_init(&cancel->requested, false);
}

bool bird_cancel_poll(bird_cancel *cancel) {
    int64_t now;
    if (!cancel || !cancel->poll) return false;
    if (atomic_load(&cancel->requested)) return true;
    now = monotonic_ns();
    if (now < cancel->next_poll_ns) return false;
    cancel->next_poll_ns = now + poll_interval_ns;
    if (cancel->poll(cancel->context)) atomic_store(&cancel->requested, true);
    return atomic_load(&cancel->requested);
}

bool bird_cancel_requested(const bird_cancel *cancel) {
    return cancel && atomic_load(&cancel->requested);
}
