#define _GNU_SOURCE /* SYS_gettid */
#include "base/thread_probe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/threads.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int starting; /* calls between bird_starting_begin and _end */
static atomic_bool probing;

typedef struct probe {
    pthread_t id;
    pthread_mutex_t *all_started; /* borrowed: held until all have started */
    long tid;
} probe;

/* Threads that were starting others in the parent do not exist here. */
static void after_fork_in_child(void) {
    atomic_store(&starting, 0);
    atomic_store(&probing, false);
}

static void set_up(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

bool bird_starting_begin(void) {
    pthread_once(&once, set_up);
    atomic_fetch_add(&starting, 1);
    if (!atomic_load(&probing)) return true;
    atomic_fetch_sub(&starting, 1);
    return false;
}

void bird_starting_end(void) {
    atomic_fetch_sub(&starting, 1);
}

static void nap(void) {
    struct timespec time = {0, 200 * 1000};
    nanosleep(&time, NULL);
}

static void *probe_main(void *argument) {
    probe *self = argument;
    self->tid = syscall(SYS_gettid);
    pthread_mutex_lock(self->all_started);
    pthread_mutex_unlock(self->all_started);
    return NULL;
}

/* The kernel counts a joined thread until it has disappeared from /proc, a moment later. */
static void wait_until_gone(long tid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld", tid);
    for (int i = 0; i < 1000 && access(path, F_OK) == 0; i++) nap();
}

int bird_probe_begin(int n) {
    pthread_mutex_t all_started = PTHREAD_MUTEX_INITIALIZER;
    probe probes[BIRD_MAX_THREADS]; /* 24 KB on the compute thread's stack */
    int started = 0;
    if (n > BIRD_MAX_THREADS) n = BIRD_MAX_THREADS;
    pthread_once(&once, set_up);
    atomic_store(&probing, true);
    while (atomic_load(&starting) > 0) nap();
    pthread_mutex_lock(&all_started);
    for (; started < n; started++) {
        probes[started].all_started = &all_started;
        if (pthread_create(&probes[started].id, NULL, probe_main, &probes[started]) != 0) break;
    }
    pthread_mutex_unlock(&all_started);
    for (int i = 0; i < started; i++) pthread_join(probes[i].id, NULL);
    for (int i = 0; i < started; i++) wait_until_gone(probes[i].tid);
    pthread_mutex_destroy(&all_started);
    return started;
}

void bird_probe_end(void) {
    atomic_store(&probing, false);
}
