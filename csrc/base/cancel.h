/* The interface that lets the host interrupt long core calls.
 *
 * In the Python bindings, `poll` takes the GIL and runs PyErr_CheckSignals. Only the thread that
 * made the core call polls, never a worker; workers check the flag that the poll sets.
 */
#ifndef BIRD_BASE_CANCEL_H
#define BIRD_BASE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bird_cancel {
    bool (*poll)(void *context); /* true: stop. May be NULL (never called) */
    void *context;               /* borrowed from the caller, outlives the call */
    int64_t next_poll_ns;        /* monotonic time before which poll is not called again */
    atomic_bool requested;       /* stays set; readable from every thread */
} bird_cancel;

void bird_cancel_init(bird_cancel *cancel, bool (*poll)(void *context), void *context);

/* Poll the host if the last poll was at least 50 ms ago; true: stop.
 * NULL never cancels. Only for the thread that owns the call. */
bool bird_cancel_poll(bird_cancel *cancel);

/* Return whether a poll has returned true. For any thread; NULL never cancels. */
bool bird_cancel_requested(const bird_cancel *cancel);

#endif
