/* The parallel loop: every item once, the cancel hook, thread counts. */
#include "base/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "forks.h"

enum { N = 1000 };

static void count_item(void *context, size_t item, int thread) {
    atomic_int *counts = context;
    (void)thread;
    atomic_fetch_add(&counts[item], 1);
}

static void every_item_once(int n_threads) {
    static atomic_int counts[N];
    memset(counts, 0, sizeof counts);
    CHECK_OK(bird_parallel_for(N, n_threads, count_item, counts, NULL, err));
    for (int i = 0; i < N; i++) CHECK(counts[i] == 1);
}

static bool always(void *context) {
    atomic_int *polls = context;
    atomic_fetch_add(polls, 1);
    return true;
}

static void sleep_item(void *context, size_t item, int thread) {
    struct timespec nap = {0, 5 * 1000 * 1000};
    (void)item;
    (void)thread;
    atomic_fetch_add((atomic_int *)context, 1);
    nanosleep(&nap, NULL);
}

static void cancel_stops_the_loop(void) {
    atomic_int polls = 0, done = 0;
    bird_cancel cancel;
    bird_cancel_init(&cancel, always, &polls);
    CHECK(bird_parallel_for(100000, 4, sleep_item, &done, &cancel, NULL) == BIRD_CANCELLED);
    CHECK(polls == 1);
    CHECK(done > 0 && done < 200);
}

static bool end_thread(void *context) {
    (void)context;
    pthread_exit(NULL);
}

static void *ends_in_its_loop(void *context) {
    bird_cancel cancel;
    bird_cancel_init(&cancel, end_thread, NULL);
    bird_parallel_for(100000, 4, sleep_item, context, &cancel, NULL);
    CHECK(0);
    return NULL;
}

/* What a host does to daemon threads when it shuts down: the workers end with their caller. */
static void caller_ends_inside_its_hook(void) {
    pthread_t caller;
    atomic_int done = 0;
    int before;
    struct timespec nap = {0, 30 * 1000 * 1000};
    pthread_create(&caller, NULL, ends_in_its_loop, &done);
    pthread_join(caller, NULL);
    before = done;
    nanosleep(&nap, NULL);
    CHECK(before > 0 && done == before);
}

/* The host's signal handler forks: the child does not wait for threads that do not exist there. */
static void fork_inside_the_hook(void) {
    pid_t child = -1;
    atomic_int done = 0;
    bird_cancel cancel;
    int code = -1;
    bird_cancel_init(&cancel, fork_once, &child);
    bird_status status = bird_parallel_for(100, 4, sleep_item, &done, &cancel, NULL);
    if (child == 0) {
        bool fine = status == BIRD_BACKEND;
        fine = fine && bird_parallel_for(9, 2, sleep_item, &done, NULL, NULL) == BIRD_OK;
        _exit(fine ? 0 : 1);
    }
    CHECK(status == BIRD_OK && child > 0 && done == 100);
    CHECK(waitpid(child, &code, 0) == child && code == 0);
}

static void numbers(void) {
    CHECK(bird_available_cpus() >= 1);
    setenv("OMP_NUM_THREADS", "3,2", 1);
    CHECK(bird_default_threads() == 3);
    CHECK_OK(bird_set_threads(5, err));
    CHECK(bird_default_threads() == 5);
    CHECK(bird_set_threads(-1, NULL) == BIRD_ARG);
    CHECK(bird_default_threads() == 5);
    CHECK_OK(bird_set_threads(0, err));
    setenv("OMP_NUM_THREADS", "nonsense", 1);
    CHECK(bird_default_threads() == bird_available_cpus());
}

int main(void) {
    every_item_once(1);
    every_item_once(2);
    every_item_once(7);
    every_item_once(2000);
    cancel_stops_the_loop();
    caller_ends_inside_its_hook();
    if (THREADS_SURVIVE_FORKS) fork_inside_the_hook();
    numbers();
    return check_failures;
}
