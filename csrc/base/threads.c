/* sched_getaffinity and CPU_COUNT are GNU. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/forks.h"
#include "base/thread_probe.h"

static atomic_int configured_threads;

static int affinity_cpus(void) {
    /* Machines with more than 1024 CPUs need a larger set than cpu_set_t. */
    for (int size = CPU_SETSIZE; size <= 1 << 20; size *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)size);
        size_t bytes = CPU_ALLOC_SIZE((size_t)size);
        int count = 0;
        if (!set) break;
        if (sched_getaffinity(0, bytes, set) == 0) count = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* Return the CPUs allowed by quota / period, rounded up; 0 for no limit. */
static int quota_cpus(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = (quota + period - 1) / period;
    return cpus > BIRD_MAX_THREADS ? BIRD_MAX_THREADS : (int)cpus;
}

static int smaller_limit(int a, int b) {
    if (a == 0) return b;
    if (b == 0) return a;
    return a < b ? a : b;
}

static long long read_number(const char *path) {
    long long number = -1;
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    if (fscanf(file, "%lld", &number) != 1) number = -1;
    fclose(file);
    return number;
}

/* Return the limit of cgroup v2: the smallest cpu.max from this group up to the root. */
static int cgroup2_cpus(const char *group) {
    char path[4096], text[64];
    int limit = 0;
    size_t length = strlen(group);
    char *copy = bird_alloc(length + 1);
    if (!copy) return 0;
    memcpy(copy, group, length + 1);
    for (;;) {
        long long quota, period;
        FILE *file;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", copy);
        file = fopen(path, "re");
        if (file) {
            if (fgets(text, sizeof text, file) && sscanf(text, "%lld %lld", &quota, &period) == 2)
                limit = smaller_limit(limit, quota_cpus(quota, period));
            fclose(file);
        }
        char *slash = strrchr(copy, '/');
        if (!slash || copy[0] == '\0') break;
        *slash = '\0';
    }
    bird_free(copy);
    return limit;
}

static int cgroup1_cpus(const char *group) {
    /* Try both, because in a container the group is often mounted as the root. */
    const char *const prefixes[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    const char *const groups[] = {group, ""};
    int limit = 0;
    for (int p = 0; p < 2; p++) {
        for (int g = 0; g < 2; g++) {
            char path[4096];
            snprintf(path, sizeof path, "%s%s/cpu.cfs_quota_us", prefixes[p], groups[g]);
            long long quota = read_number(path);
            snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", prefixes[p], groups[g]);
            limit = smaller_limit(limit, quota_cpus(quota, read_number(path)));
        }
    }
    return limit;
}

static int cgroup_cpus(void) {
    char line[4096];
    int limit = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        /* hierarchy:controllers:path; version 2 has no controllers */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        controllers++;
        if (*controllers == '\0')
            limit = smaller_limit(limit, cgroup2_cpus(path));
        else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0)
            limit = smaller_limit(limit, cgroup1_cpus(path));
    }
    fclose(file);
    return limit;
}

int bird_available_cpus(void) {
    return smaller_limit(affinity_cpus(), cgroup_cpus());
}

int bird_default_threads(void) {
    int configured = atomic_load(&configured_threads);
    if (configured > 0) return configured;
    const char *text = getenv("OMP_NUM_THREADS");
    if (text) {
        /* A list ("4,2") has the numbers for nested levels; use the first. */
        char *end;
        long n = strtol(text, &end, 10);
        if (end != text && n > 0) return n > BIRD_MAX_THREADS ? BIRD_MAX_THREADS : (int)n;
    }
    return bird_available_cpus();
}

int bird_threads_or_default(int n_threads) {
    if (n_threads > BIRD_MAX_THREADS) return BIRD_MAX_THREADS;
    return n_threads > 0 ? n_threads : bird_default_threads();
}

bird_status bird_set_threads(int n_threads, bird_error *err) {
    if (n_threads < 0 || n_threads > BIRD_MAX_THREADS)
        return bird_fail(err, BIRD_ARG, "num_threads must be 0 to %d, got %d", BIRD_MAX_THREADS,
                         n_threads);
    atomic_store(&configured_threads, n_threads);
    return BIRD_OK;
}

typedef struct loop {
    atomic_size_t next; /* first item that no thread has taken */
    size_t n_items;
    bird_item_fn fn;
    void *context;       /* borrowed from the caller */
    bird_cancel *cancel; /* borrowed from the caller; may be NULL */
    atomic_bool abandoned;
    struct worker *workers; /* owned */
    int started;
    int forks; /* bird_fork_count before the first was started */
} loop;

typedef struct worker {
    pthread_t id;
    loop *shared; /* borrowed: outlives the thread, which is joined */
    int thread;
} worker;

static void *worker_main(void *argument) {
    worker *self = argument;
    loop *shared = self->shared;
    while (!bird_cancel_requested(shared->cancel) && !atomic_load(&shared->abandoned)) {
        size_t item = atomic_fetch_add(&shared->next, 1);
        if (item >= shared->n_items) break;
        shared->fn(shared->context, item, self->thread);
    }
    return NULL;
}

/* Start up to n threads; none while the compute thread needs them. */
static void start_workers(loop *shared, int n) {
    if (!bird_starting_begin()) return;
    for (; shared->started < n; shared->started++) {
        worker *next = &shared->workers[shared->started];
        next->shared = shared;
        next->thread = shared->started + 1;
        if (pthread_create(&next->id, NULL, worker_main, next) != 0) break;
    }
    bird_starting_end();
}

/* Join the workers. A forked child has no threads to join. */
static bird_status join_workers(loop *shared, bird_error *err) {
    bird_status status = bird_check_forks(shared->forks, err);
    for (int i = 0; status == BIRD_OK && i < shared->started; i++)
        pthread_join(shared->workers[i].id, NULL);
    bird_free(shared->workers);
    return status;
}

/* The thread of the caller ends inside its hook (a host that shuts down does this to daemon
 * threads), and with it the stack that the workers read. */
static void abandon(void *context) {
    loop *shared = context;
    atomic_store(&shared->abandoned, true);
    (void)join_workers(shared, NULL);
}

static bool ask_hook(loop *shared) {
    bool stop;
    pthread_cleanup_push(abandon, shared);
    stop = bird_cancel_poll(shared->cancel);
    pthread_cleanup_pop(0);
    return stop;
}

bird_status bird_parallel_for(size_t n_items, int n_threads, bird_item_fn fn, void *context,
                              bird_cancel *cancel, bird_error *err) {
    loop shared = {.n_items = n_items, .fn = fn, .context = context, .cancel = cancel,
                   .forks = bird_fork_count()};
    bird_status status;

    atomic_init(&shared.next, 0);
    atomic_init(&shared.abandoned, false);
    if (n_threads > BIRD_MAX_THREADS) n_threads = BIRD_MAX_THREADS;
    if ((size_t)n_threads > n_items) n_threads = (int)n_items;
    if (n_threads > 1) {
        shared.workers = bird_alloc((size_t)(n_threads - 1) * sizeof *shared.workers);
        if (!shared.workers)
            return bird_fail(err, BIRD_NOMEM, "out of memory for %d threads", n_threads);
        start_workers(&shared, n_threads - 1);
    }
    for (;;) {
        size_t item;
        if (ask_hook(&shared)) break;
        item = atomic_fetch_add(&shared.next, 1);
        if (item >= n_items) break;
        fn(context, item, 0);
    }
    status = join_workers(&shared, err);
    if (bird_cancel_requested(cancel)) return bird_fail(err, BIRD_CANCELLED, "cancelled");
    return status;
}
