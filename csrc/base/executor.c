/* Implementation notes.
 *
 * There are two mutexes. `queue` guards the list of waiting jobs and their `done` flags. `gate` is
 * held by the compute thread while it computes, and released at checkpoints when a fork
 * is waiting, so while another thread holds `gate`, oneDNN and OpenMP are between two primitives.
 * Order: gate before queue.
 *
 * Jobs are on the stack of the waiting caller, so nothing is allocated. In a forked child the
 * callers of current jobs do not exist: the child clears the list, creates new locks, and starts a
 * thread with its first job. Only a caller whose hook forked may exist in the child; it detects
 * that with bird_fork_count.
 */
#include "base/executor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/forks.h"

struct bird_job {
    bird_job_fn fn;
    void *context;       /* borrowed from the caller, which waits */
    bird_error *err;     /* borrowed from the caller; may be NULL */
    bird_status status;  /* valid once done */
    bool begun, done;    /* guarded by queue */
    atomic_bool cancel;  /* set by the caller */
    bird_job *next;      /* guarded by queue */
    int forks;           /* bird_fork_count when it was queued */
};

static struct {
    pthread_once_t once;
    pthread_mutex_t gate, queue;
    pthread_cond_t gate_free; /* a fork is over */
    pthread_cond_t work;      /* a job was appended */
    pthread_cond_t finished;  /* a job was done */
    bird_job *first, *last;
    bool running;         /* the compute thread exists; guarded by queue */
    atomic_int forks;     /* threads that wait at the gate to fork, or to end the process */
    atomic_bool closed;   /* the process ends */
} executor = {.once = PTHREAD_ONCE_INIT};

static void init_locks(void) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&executor.gate, NULL);
    pthread_mutex_init(&executor.queue, NULL);
    pthread_cond_init(&executor.gate_free, NULL);
    pthread_cond_init(&executor.work, NULL);
    pthread_cond_init(&executor.finished, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void set_up(void);

static void before_fork(void) {
    atomic_fetch_add(&executor.forks, 1);
    pthread_mutex_lock(&executor.gate);
    pthread_mutex_lock(&executor.queue);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&executor.queue);
    atomic_fetch_sub(&executor.forks, 1);
    pthread_cond_broadcast(&executor.gate_free);
    pthread_mutex_unlock(&executor.gate);
}

static void after_fork_in_child(void) {
    init_locks();
    executor.first = executor.last = NULL;
    executor.running = false;
    atomic_store(&executor.forks, 0);
}

/* OpenMP ends the process from the compute thread if the system does not give it a thread. */
static _Thread_local bool on_compute_thread;

void bird_executor_close(void) {
    pthread_once(&executor.once, set_up);
    if (on_compute_thread || atomic_exchange(&executor.closed, true)) return;
    atomic_fetch_add(&executor.forks, 1);
    pthread_mutex_lock(&executor.gate);
}

static void set_up(void) {
    init_locks();
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    /* For hosts that do not close the executor. Objects that oneDNN created later are destroyed
     * before this. */
    atexit(bird_executor_close);
}

/* Let waiting forks pass. The gate is held before and after. */
static void open_gate_for_forks(void) {
    while (atomic_load(&executor.forks) > 0)
        pthread_cond_wait(&executor.gate_free, &executor.gate);
}

static void *compute_main(void *unused) {
    (void)unused;
    on_compute_thread = true;
    for (;;) {
        bird_job *job;
        bird_status status;
        pthread_mutex_lock(&executor.queue);
        while (!executor.first) pthread_cond_wait(&executor.work, &executor.queue);
        job = executor.first;
        executor.first = job->next;
        if (!executor.first) executor.last = NULL;
        job->begun = true;
        pthread_mutex_unlock(&executor.queue);

        pthread_mutex_lock(&executor.gate);
        status = bird_job_checkpoint(job, job->err);
        if (status == BIRD_OK) status = job->fn(job->context, job, job->err);
        pthread_mutex_unlock(&executor.gate);

        pthread_mutex_lock(&executor.queue);
        job->status = status;
        job->done = true; /* after this the caller may return, and the job no longer exists */
        pthread_cond_broadcast(&executor.finished);
        pthread_mutex_unlock(&executor.queue);
    }
    return NULL;
}

/* Start the compute thread unless it is running. The queue is held. */
static bird_status ensure_thread(bird_error *err) {
    pthread_t id;
    sigset_t all, before;
    int code;
    if (executor.running) return BIRD_OK;
    /* Signals belong to the host's threads; OpenMP's workers inherit the mask. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&id, NULL, compute_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) return bird_fail_io(err, code, "cannot start the compute thread");
    pthread_detach(id);
    executor.running = true;
    return BIRD_OK;
}

/* Remove a job from the list if it has not started; false if it has. The queue is held. */
static bool withdraw(bird_job *job) {
    bird_job *before = NULL;
    if (job->begun) return false;
    for (bird_job *at = executor.first; at != job; at = at->next) before = at;
    if (before)
        before->next = job->next;
    else
        executor.first = job->next;
    if (executor.last == job) executor.last = before;
    return true;
}

/* Return the monotonic time at which a waiting caller calls its hook next. */
static struct timespec next_poll(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += 100 * 1000 * 1000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* The thread of the caller ends inside its hook (a host that shuts down does this to daemon
 * threads), and with it the stack that contains the job. */
static void abandon(void *context) {
    bird_job *job = context;
    atomic_store(&job->cancel, true);
    if (bird_fork_count() != job->forks) return; /* no compute thread in this process */
    pthread_mutex_lock(&executor.queue);
    if (!withdraw(job))
        while (!job->done) pthread_cond_wait(&executor.finished, &executor.queue);
    pthread_mutex_unlock(&executor.queue);
}

static void ask_hook(bird_job *job, bird_cancel *cancel) {
    pthread_cleanup_push(abandon, job);
    if (bird_cancel_poll(cancel)) atomic_store(&job->cancel, true);
    pthread_cleanup_pop(0);
}

/* Wait for the job, calling the hook ten times per second. The queue is held on entry and
 * on return, but not while the hook runs, because the hook takes the lock of the host. */
static bird_status wait_for(bird_job *job, bird_cancel *cancel, bird_error *err) {
    /* Keep this time across wake-ups for other jobs; otherwise many short jobs would delay the
     * poll. */
    struct timespec until = next_poll();
    while (!job->done) {
        if (pthread_cond_timedwait(&executor.finished, &executor.queue, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&executor.queue);
        ask_hook(job, cancel);
        until = next_poll();
        pthread_mutex_lock(&executor.queue);
        if (bird_check_forks(job->forks, err) != BIRD_OK) return BIRD_BACKEND;
        if (atomic_load(&job->cancel) && !job->done && withdraw(job))
            return bird_fail(err, BIRD_CANCELLED, "cancelled");
    }
    return job->status;
}

bird_status bird_executor_run(bird_job_fn fn, void *context, bird_cancel *cancel,
                              bird_error *err) {
    bird_job job = {.fn = fn, .context = context, .err = err, .forks = bird_fork_count()};
    bird_status status;
    atomic_init(&job.cancel, false);
    pthread_once(&executor.once, set_up);
    /* Poll first, because jobs shorter than the wait below would never poll. */
    if (bird_cancel_poll(cancel)) return bird_fail(err, BIRD_CANCELLED, "cancelled");

    pthread_mutex_lock(&executor.queue);
    status = ensure_thread(err);
    if (status == BIRD_OK) {
        if (executor.last)
            executor.last->next = &job;
        else
            executor.first = &job;
        executor.last = &job;
        pthread_cond_signal(&executor.work);
        status = wait_for(&job, cancel, err);
    }
    pthread_mutex_unlock(&executor.queue);
    /* The hook returned true while the job ended; the host has an exception set and must see it. */
    if (status == BIRD_OK && bird_cancel_requested(cancel))
        status = bird_fail(err, BIRD_CANCELLED, "cancelled");
    return status;
}

bird_status bird_job_checkpoint(bird_job *job, bird_error *err) {
    open_gate_for_forks();
    if (atomic_load(&job->cancel)) return bird_fail(err, BIRD_CANCELLED, "cancelled");
    return BIRD_OK;
}

bool bird_job_stopped(const bird_job *job) {
    return atomic_load(&job->cancel);
}
