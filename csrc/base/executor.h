/* The compute thread: every oneDNN call of the process runs on it, one job at a time.
 *
 * GNU OpenMP keeps a thread pool for each calling thread, and the pool does not survive a fork.
 * Because one thread owns the only pool, several Python threads use no more cores than exist, and a
 * forked child gets a working pool by starting a new compute thread.
 */
#ifndef BIRD_BASE_EXECUTOR_H
#define BIRD_BASE_EXECUTOR_H

#include <stdbool.h>

#include "base/cancel.h"
#include "base/status.h"

/* Handle of a running job. */
typedef struct bird_job bird_job;

/* The work of a job. It runs on the compute thread and calls bird_job_checkpoint between
 * primitives. */
typedef bird_status (*bird_job_fn)(void *context, bird_job *job, bird_error *err);

/* Run fn on the compute thread and wait for it, polling `cancel` at least every 100 ms.
 * Jobs run in the order of their calls. Returns the status of fn, or BIRD_CANCELLED if the job was
 * cancelled before it started (it then does not run) or if the hook returned true just as the job
 * ended. BIRD_BACKEND in a child that the hook forked. Must not be called by a job. */
bird_status bird_executor_run(bird_job_fn fn, void *context, bird_cancel *cancel,
                              bird_error *err);

/* Let the job be stopped, and other threads fork, at this point. Return BIRD_CANCELLED if the
 * caller wants to stop. */
bird_status bird_job_checkpoint(bird_job *job, bird_error *err);

/* Return whether the caller wants to stop. For threads that help the compute thread with a job
 * and must not use the gate; forks wait until they are done. */
bool bird_job_stopped(const bird_job *job);

/* Stop the compute thread permanently between two primitives. Call this before the process ends,
 * from its last thread and while the tables of oneDNN and OpenMP still exist. Jobs of other threads
 * of the host never finish. A second call does nothing. */
void bird_executor_close(void);

#endif
