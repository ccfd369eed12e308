/* The compute thread: order, results, cancelling, concurrent callers, forks under load. */
#include "base/executor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "forks.h"

static void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static bird_status add_one(void *context, bird_job *job, bird_error *err) {
    int *number = context; /* not atomic on purpose: jobs never overlap */
    int seen = *number;
    bird_status status = bird_job_checkpoint(job, err);
    *number = seen + 1;
    return status;
}

static bird_status refuse(void *context, bird_job *job, bird_error *err) {
    (void)context;
    (void)job;
    return bird_fail(err, BIRD_SHAPE, "no");
}

static bird_status spin(void *context, bird_job *job, bird_error *err) {
    atomic_int *rounds = context;
    for (int i = 0; i < 10000; i++) {
        bird_status status = bird_job_checkpoint(job, err);
        if (status != BIRD_OK) return status;
        atomic_fetch_add(rounds, 1);
        nap(1);
    }
    return BIRD_OK;
}

static bird_status spin_to_10000(void *context, bird_job *job, bird_error *err) {
    atomic_int *rounds = context;
    while (atomic_load(rounds) < 10000) {
        bird_status status = bird_job_checkpoint(job, err);
        if (status != BIRD_OK) return status;
        atomic_fetch_add(rounds, 1);
        nap(1);
    }
    return BIRD_OK;
}

static bool stop_now(void *context) {
    (void)context;
    return true;
}

static int shared_count;

static void *many_jobs(void *unused) {
    (void)unused;
    for (int i = 0; i < 500; i++) CHECK_OK(bird_executor_run(add_one, &shared_count, NULL, err));
    return NULL;
}

static void callers_take_turns(void) {
    pthread_t callers[4];
    shared_count = 0;
    for (int i = 0; i < 4; i++) pthread_create(&callers[i], NULL, many_jobs, NULL);
    for (int i = 0; i < 4; i++) pthread_join(callers[i], NULL);
    CHECK(shared_count == 2000);
}

static void errors_come_back(void) {
    bird_error record = {0};
    CHECK(bird_executor_run(refuse, NULL, NULL, &record) == BIRD_SHAPE);
    CHECK(record.code == BIRD_SHAPE && record.message[0] == 'n');
}

static void cancelling(void) {
    atomic_int rounds = 0;
    bird_cancel cancel;
    int number = 0;
    bird_cancel_init(&cancel, stop_now, NULL);
    CHECK(bird_executor_run(spin, &rounds, &cancel, NULL) == BIRD_CANCELLED);
    CHECK(rounds > 0 && rounds < 1000);
    CHECK_OK(bird_executor_run(add_one, &number, NULL, err)); /* usable afterwards */
    CHECK(number == 1);
}

static bool stop_and_tell(void *told) {
    atomic_store((atomic_int *)told, 1);
    return true;
}

static bird_status end_once_told(void *told, bird_job *job, bird_error *err) {
    (void)job;
    (void)err;
    /* No checkpoint, so it succeeds although it was asked to stop. */
    for (int i = 0; i < 60000 && !atomic_load((atomic_int *)told); i++) nap(1);
    return BIRD_OK;
}

/* The host set an exception when its hook returned true; success would contradict it. */
static void stop_is_heard_though_the_job_ended(void) {
    bird_cancel cancel;
    atomic_int told = 0;
    bird_cancel_init(&cancel, stop_and_tell, &told);
    CHECK(bird_executor_run(end_once_told, &told, &cancel, NULL) == BIRD_CANCELLED);
}

static bool end_thread(void *context) {
    (void)context;
    pthread_exit(NULL);
}

static void *ends_while_waiting(void *context) {
    bird_cancel cancel;
    bird_cancel_init(&cancel, end_thread, NULL);
    bird_executor_run(spin, context, &cancel, NULL);
    CHECK(0);
    return NULL;
}

/* What a host does to daemon threads when it shuts down. The stack with the job disappears. */
static void caller_ends_inside_its_hook(void) {
    pthread_t caller;
    atomic_int rounds = 0;
    int before, number = 0;
    pthread_create(&caller, NULL, ends_while_waiting, &rounds);
    pthread_join(caller, NULL);
    before = rounds;
    nap(20);
    CHECK(rounds == before);
    CHECK_OK(bird_executor_run(add_one, &number, NULL, err));
    CHECK(number == 1);
}

static atomic_int long_rounds;
static bird_cancel long_cancel;
static atomic_bool stop_long;

static bool stop_when_told(void *context) {
    (void)context;
    return atomic_load(&stop_long);
}

static void *long_job(void *unused) {
    (void)unused;
    bird_executor_run(spin, &long_rounds, &long_cancel, NULL);
    return NULL;
}

/* A job in the queue behind a long one is withdrawn without waiting for its turn. */
static void waiting_job_is_withdrawn(void) {
    pthread_t caller;
    bird_cancel cancel;
    int number = 0;
    atomic_store(&stop_long, false);
    bird_cancel_init(&long_cancel, stop_when_told, NULL);
    pthread_create(&caller, NULL, long_job, NULL);
    nap(50);
    bird_cancel_init(&cancel, stop_now, NULL);
    CHECK(bird_executor_run(add_one, &number, &cancel, NULL) == BIRD_CANCELLED);
    CHECK(number == 0);
    atomic_store(&stop_long, true);
    pthread_join(caller, NULL);
}

/* Children forked in the middle of a job can compute; the job of the parent continues. */
static void forks_under_load(void) {
    pthread_t caller;
    atomic_store(&stop_long, false);
    bird_cancel_init(&long_cancel, stop_when_told, NULL);
    pthread_create(&caller, NULL, long_job, NULL);
    nap(20);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
#ifdef __SANITIZE_THREAD__
            _exit(0); /* ThreadSanitizer does not support threads here: only the handlers run */
#endif
            int number = 0;
            alarm(20); /* a hang must fail the test, not stop it */
            bird_status status = bird_executor_run(add_one, &number, NULL, NULL);
            _exit(status == BIRD_OK && number == 1 ? 0 : 1);
        }
        int code = -1;
        CHECK(waitpid(child, &code, 0) == child && code == 0);
    }
    int before = long_rounds;
    nap(100);
    CHECK(long_rounds > before);
    atomic_store(&stop_long, true);
    pthread_join(caller, NULL);
}

/* The host's signal handler forks: the call fails in the child, and the child's next job
 * succeeds. */
static void fork_inside_the_hook(void) {
    pid_t child = -1;
    atomic_int rounds = 9800; /* of 10000 that take one millisecond each */
    bird_cancel cancel;
    bird_error err = {0};
    int number = 0, code = -1;
    bird_cancel_init(&cancel, fork_once, &child);
    bird_status status = bird_executor_run(spin_to_10000, &rounds, &cancel, &err);
    if (child == 0) {
        bool fine = status == BIRD_BACKEND && err.code == BIRD_BACKEND;
        fine = fine && bird_executor_run(add_one, &number, NULL, NULL) == BIRD_OK && number == 1;
        _exit(fine ? 0 : 1);
    }
    CHECK(status == BIRD_OK && child > 0);
    CHECK(waitpid(child, &code, 0) == child && code == 0);
}

static bird_status close_itself(void *context, bird_job *job, bird_error *err) {
    (void)job;
    (void)err;
    bird_executor_close(); /* the effect of OpenMP's exit() on the compute thread */
    *(int *)context = 1;
    return BIRD_OK;
}

static atomic_int rounds_at_end;

static void *spin_for_ever(void *unused) {
    (void)unused;
    for (;;) {
        atomic_store(&rounds_at_end, 0);
        bird_executor_run(spin, &rounds_at_end, NULL, NULL);
    }
    return NULL;
}

/* In a separate process, because nothing computes afterwards. */
static void jobs_rest_after_the_end(void) {
    pid_t child = fork();
    int code = -1;
    if (child == 0) {
        pthread_t caller;
        int done = 0, before;
        bird_status status = bird_executor_run(close_itself, &done, NULL, NULL);
        if (status != BIRD_OK || done != 1) _exit(1);
        pthread_create(&caller, NULL, spin_for_ever, NULL);
        while (atomic_load(&rounds_at_end) < 5) nap(1);
        bird_executor_close();
        bird_executor_close();
        before = rounds_at_end;
        nap(30);
        _exit(rounds_at_end == before ? 0 : 2);
    }
    CHECK(waitpid(child, &code, 0) == child && code == 0);
}

int main(void) {
    callers_take_turns();
    errors_come_back();
    cancelling();
    stop_is_heard_though_the_job_ended();
    caller_ends_inside_its_hook();
    waiting_job_is_withdrawn();
    forks_under_load();
    if (THREADS_SURVIVE_FORKS) fork_inside_the_hook();
    if (THREADS_SURVIVE_FORKS) jobs_rest_after_the_end();
    return check_failures;
}
