/* The compute thread: every oneDNN call of the process runs on it, one job at a time.
 *
 * GNU OpenMP keeps a thread pool for each calling thread and does not survive a fork.
 * One thread that owns the pool means that several Python threads never multiply the
 * cores, and that a forked child gets a working pool by starting a thread of its own.
 */
#ifndef BIRD_BASE_EXECUTOR_H
#define BIRD_BASE_EXECUTOR_H

#include <stdbool.h>

#include "base/cancel.h"
#include "base/status.h"

/* What a running job may ask of the executor. */
typedef struct bird_job bird_job;

/* The work. Runs on the compute thread; calls bird_job_checkpoint between primitives. */
typedef bird_status (*bird_job_fn)(void *context, bird_job *job, bird_error *err);

/* Run fn on the compute thread and wait for it, asking `cancel` at least every 100 ms.
 * Jobs run in the order they came. Returns what fn returned; a job that is cancelled
 * before it began returns BIRD_CANCELLED without running, and one that ended well just as
 * the hook said stop returns it too. BIRD_BACKEND in a child that the hook forked. Must not be
 * called by a job. */
bird_status bird_executor_run(bird_job_fn fn, void *context, bird_cancel *cancel,
                              bird_error *err);

/* A point at which the job may be stopped, and at which another thread may fork.
 * BIRD_CANCELLED where the caller wants to stop. */
bird_status bird_job_checkpoint(bird_job *job, bird_error *err);

/* True where the caller wants to stop. For threads that help the compute thread with a job,
 * which must not touch the gate: forks wait for the end of such a part. */
bool bird_job_stopped(const bird_job *job);

/* Let the compute thread rest between two primitives, for good: to be called before the process
 * ends, by its last thread and while oneDNN's and OpenMP's own tables are still there. A job that
 * another thread of the host waits for is never done. A second call does nothing. */
void bird_executor_close(void);

#endif
