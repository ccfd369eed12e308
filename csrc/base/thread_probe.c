#define _GNU_SOURCE /* SYS_gettid */
#include "base/thread_probe.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/threads.h"

/* What glibc's malloc takes of the address space for a thread that allocates for the first time
 * (64 MB of it only for a moment). It does this for at most 8 threads per processor. */
#define ARENA ((size_t)128 << 20)
#define ARENAS_PER_CPU 8

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

/* Return the size that OMP_STACKSIZE asks for ("512k", "4 M", kilobytes without a unit), or 0. */
static size_t openmp_stack(void) {
    const char *text = getenv("OMP_STACKSIZE");
    char *end, unit = 'k';
    if (!text) return 0;
    unsigned long long size = strtoull(text, &end, 10);
    if (end == text) return 0;
    sscanf(end, " %c", &unit);
    int shift = unit == 'b' || unit == 'B'   ? 0
                : unit == 'm' || unit == 'M' ? 20
                : unit == 'g' || unit == 'G' ? 30
                                             : 10;
    return size <= SIZE_MAX >> shift ? (size_t)(size << shift) : 0;
}

/* Start up to n threads with stacks as large as OpenMP's. Return how many were started. */
static int start_probes(probe *probes, int n, pthread_mutex_t *all_started) {
    pthread_attr_t attr;
    size_t stack = openmp_stack();
    int started = 0;
    if (pthread_attr_init(&attr) != 0) return 0;
    if (stack >= (size_t)PTHREAD_STACK_MIN) pthread_attr_setstacksize(&attr, stack);
    for (; started < n; started++) {
        probes[started].all_started = all_started;
        if (pthread_create(&probes[started].id, &attr, probe_main, &probes[started]) != 0) break;
    }
    pthread_attr_destroy(&attr);
    return started;
}

/* Keep the part of a limited address space (ulimit -v) that n new threads take for malloc: while
 * OpenMP starts the last of them, the first may already have it. Lowers n until the part fits.
 * Return it, or NULL if there is no limit or no part that fits; *size is its size in bytes. */
static void *keep_room(int *n, size_t *size) {
    struct rlimit limit;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return NULL;
    for (; *n > 0; *n /= 2) {
        long arenas = ARENAS_PER_CPU * (cpus > 0 ? cpus : 1);
        if (arenas > *n) arenas = *n;
        *size = (size_t)arenas * ARENA;
        void *room = mmap(NULL, *size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (room != MAP_FAILED) return room;
    }
    return NULL;
}

int bird_probe_begin(int n) {
    pthread_mutex_t all_started = PTHREAD_MUTEX_INITIALIZER;
    probe probes[BIRD_MAX_THREADS]; /* 24 KB on the compute thread's stack */
    size_t size = 0;
    if (n > BIRD_MAX_THREADS) n = BIRD_MAX_THREADS;
    pthread_once(&once, set_up);
    atomic_store(&probing, true);
    while (atomic_load(&starting) > 0) nap();
    void *room = keep_room(&n, &size);
    pthread_mutex_lock(&all_started);
    int started = start_probes(probes, n, &all_started);
    pthread_mutex_unlock(&all_started);
    for (int i = 0; i < started; i++) pthread_join(probes[i].id, NULL);
    for (int i = 0; i < started; i++) wait_until_gone(probes[i].tid);
    pthread_mutex_destroy(&all_started);
    if (room) munmap(room, size);
    return started;
}

void bird_probe_end(void) {
    atomic_store(&probing, false);
}
