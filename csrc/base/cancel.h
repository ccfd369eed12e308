/* The seam through which the host interrupts long core calls.
 *
 * The Python glue fills `poll` with "take the GIL, run PyErr_CheckSignals". Only the
 * thread that made the core call polls, never a worker; workers look at the flag that
 * the poll leaves behind.
 */
#ifndef BIRD_BASE_CANCEL_H
#define BIRD_BASE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bird_cancel {
    bool (*poll)(void *context); /* true: stop. May be NULL (never asked) */
    void *context;               /* borrowed from the caller, outlives the call */
    int64_t next_poll_ns;        /* monotonic time before which poll is not asked again */
    atomic_bool requested;       /* set once, stays set: readable from every thread */
} bird_cancel;

void bird_cancel_init(bird_cancel *cancel, bool (*poll)(void *context), void *context);

/* Ask the host if 50 ms have gone by since it was last asked; true: stop.
 * NULL never cancels. Only for the thread that owns the call. */
bool bird_cancel_poll(bird_cancel *cancel);

/* True where a poll has said stop. Any thread; NULL never cancels. */
bool bird_cancel_requested(const bird_cancel *cancel);

#endif
