/* Forward passes with a stub instead of csrc/nn: how images are divided into micro-batches, how
 * plans are kept, many callers at once, cancelling between two micro-batches, forks. The stub does
 * not use OpenMP, so ThreadSanitizer can check it. */
#include "model/inference.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "check.h"
#include "model/inference_plan.h"

enum { SIDE = 32, PICTURE = 3 * SIDE * SIDE, FEATURES = 2048 };

static const bird_resnet_spec tiny = {.name = "tiny", .stages = {1, 1, 1, 1}};

/* --- the stub: every feature is the first number of the image -------------------------- */

struct bird_inference_plan {
    bird_inference_key key;
    float *maps; /* owned (batch, FEATURES, 1, 1) */
};

/* Not atomic on purpose: plans are made and run only on the compute thread. */
static int n_made, n_runs, runs_of_8;
static atomic_int n_alive;
static size_t size_of_each = 1000;
static long run_milliseconds;

bird_status bird_inference_plan_create(bird_inference_plan **plan, const bird_weights *weights,
                                       bird_inference_key key, bird_error *err) {
    bird_inference_plan *made = bird_alloc(sizeof *made);
    (void)weights;
    (void)err;
    made->key = key;
    made->maps = bird_alloc((size_t)key.batch * FEATURES * sizeof *made->maps);
    n_made++;
    atomic_fetch_add(&n_alive, 1);
    *plan = made;
    return BIRD_OK;
}

void bird_inference_plan_destroy(bird_inference_plan *plan) {
    if (!plan) return;
    atomic_fetch_sub(&n_alive, 1);
    bird_free(plan->maps);
    bird_free(plan);
}

int bird_inference_threads(int n_threads) {
    return n_threads;
}

bool bird_inference_plan_fits(const bird_inference_plan *plan, bird_inference_key key) {
    return memcmp(&plan->key, &key, sizeof key) == 0;
}

size_t bird_inference_plan_size(const bird_inference_plan *plan) {
    (void)plan;
    return size_of_each;
}

const float *bird_inference_plan_largest(const bird_inference_plan *plan) {
    return plan->maps;
}

int bird_inference_batches(int sizes[BIRD_N_BATCHES], int n_threads) {
    (void)n_threads;
    sizes[0] = 8;
    sizes[1] = 1;
    return 2;
}

const float *bird_inference_plan_map(const bird_inference_plan *plan, int picture) {
    return plan->maps + (size_t)picture * FEATURES;
}

bird_status bird_inference_plan_run(bird_inference_plan *plan, const float *pixels, bird_job *job,
                                    bird_error *err) {
    const struct timespec time = {0, run_milliseconds * 1000000};
    n_runs++;
    runs_of_8 += plan->key.batch == 8;
    for (int i = 0; i < plan->key.batch; i++) {
        bird_status status = bird_job_checkpoint(job, err);
        if (status != BIRD_OK) return status;
        for (int c = 0; c < FEATURES; c++) plan->maps[i * FEATURES + c] = pixels[i * PICTURE];
    }
    if (run_milliseconds) nanosleep(&time, NULL);
    return BIRD_OK;
}

bird_status bird_packed_create(bird_packed **packed, int n_keys, bird_plain_fn plain,
                               const void *owner, bird_error *err) {
    (void)n_keys;
    (void)plain;
    (void)owner;
    (void)err;
    *packed = NULL;
    return BIRD_OK;
}

void bird_packed_destroy(bird_packed *packed) {
    (void)packed;
}

static bird_precision precision = BIRD_FLOAT32; /* precision of the embeddings */

/* --- the tests -------------------------------------------------------------------------- */

static bird_inference *make(void) {
    bird_weights *weights = NULL;
    bird_inference *inference = NULL;
    CHECK_OK(bird_weights_create(&weights, &tiny, 0, err));
    CHECK_OK(bird_inference_create(&inference, weights, err));
    bird_weights_release(weights);
    return inference;
}

/* Embed n images whose first numbers are base, base + 1, ...; return true if all results are
 * right. */
static bool embed(bird_inference *inference, size_t n, int base, int n_threads,
                  bird_cancel *cancel, bird_status wanted) {
    float *pixels = bird_calloc(n, PICTURE * sizeof *pixels);
    float *features = bird_calloc(n, FEATURES * sizeof *features);
    bool right;
    for (size_t i = 0; i < n; i++) pixels[i * PICTURE] = (float)(base + (int)i);
    right = bird_inference_features(inference, features, pixels, n, SIDE, SIDE, precision,
                                    BIRD_POOL_AVERAGE, n_threads, cancel, NULL) == wanted;
    for (size_t i = 0; i < n && right && wanted == BIRD_OK; i++)
        right = features[i * FEATURES] == (float)(base + (int)i) &&
                features[i * FEATURES + FEATURES - 1] == (float)(base + (int)i);
    bird_free(features);
    bird_free(pixels);
    return right;
}

static void micro_batches(void) {
    bird_inference *inference = make();
    n_runs = runs_of_8 = n_made = 0;
    CHECK(embed(inference, 33, 5, 1, NULL, BIRD_OK));
    CHECK(n_runs == 5 && runs_of_8 == 4 && n_made == 2);
    CHECK(embed(inference, 0, 0, 1, NULL, BIRD_OK));
    CHECK(embed(inference, 7, 0, 1, NULL, BIRD_OK));
    CHECK(n_runs == 12 && n_made == 2);
    bird_inference_destroy(inference);
    CHECK(n_alive == 0);
}

/* Plans of both precisions of one model are kept at the same time. */
static void each_precision_has_its_plans(void) {
    bird_inference *inference = make();
    n_made = 0;
    for (int i = 0; i < 4; i++) {
        precision = i % 2 ? BIRD_BFLOAT16 : BIRD_FLOAT32;
        CHECK(embed(inference, 9, 3, 1, NULL, BIRD_OK));
    }
    precision = BIRD_FLOAT32;
    CHECK(n_made == 4);
    bird_inference_destroy(inference);
}

static void plans_are_bounded(void) {
    bird_inference *inference = make();
    for (int n_threads = 1; n_threads <= 20; n_threads++) {
        CHECK(embed(inference, 9, 0, n_threads, NULL, BIRD_OK));
        CHECK(n_alive <= 6);
    }
    n_made = 0;
    CHECK(embed(inference, 9, 0, 20, NULL, BIRD_OK)); /* the last plans still exist */
    CHECK(n_made == 0);
    size_of_each = (size_t)600 << 20; /* two of them exceed the limit */
    CHECK(embed(inference, 9, 0, 1, NULL, BIRD_OK));
    CHECK(n_alive == 1);
    size_of_each = 1000;
    bird_inference_destroy(inference);
}

static void bad_sizes(void) {
    bird_inference *inference = make();
    float none[1] = {0};
    bird_error err;
    CHECK(bird_inference_features(inference, none, none, 1, 31, 64, BIRD_FLOAT32, BIRD_POOL_AVERAGE,
                                  1, NULL, &err) == BIRD_SHAPE);
    CHECK(strstr(err.message, "31x64"));
    CHECK(bird_inference_maps(inference, none, none, 1, 64, 1025, BIRD_FLOAT32, 1, NULL, &err) ==
          BIRD_SHAPE);
    bird_inference_destroy(inference);
}

static bird_inference *shared_inference;

static void *many_calls(void *context) {
    const int base = *(const int *)context;
    for (int i = 0; i < 20; i++)
        CHECK(embed(shared_inference, 11, base + i, 1 + i % 3, NULL, BIRD_OK));
    return NULL;
}

static void callers_share_a_model(void) {
    const int bases[4] = {100, 2000, 30000, 400000};
    pthread_t callers[4];
    shared_inference = make();
    for (int i = 0; i < 4; i++)
        pthread_create(&callers[i], NULL, many_calls, (void *)&bases[i]);
    for (int i = 0; i < 4; i++) pthread_join(callers[i], NULL);
    bird_inference_destroy(shared_inference);
}

static atomic_int asked;

static bool stop_at_second(void *context) {
    (void)context;
    return atomic_fetch_add(&asked, 1) >= 1;
}

/* Each micro-batch ends before a waiting caller would ask its hook. The hook is asked
 * nevertheless. */
static void cancelled_between_micro_batches(void) {
    bird_inference *inference = make();
    bird_cancel cancel;
    atomic_store(&asked, 0);
    bird_cancel_init(&cancel, stop_at_second, NULL);
    run_milliseconds = 10;
    n_runs = 0;
    CHECK(embed(inference, 8 * 200, 0, 1, &cancel, BIRD_CANCELLED));
    CHECK(n_runs > 0 && n_runs < 100);
    run_milliseconds = 0;
    CHECK(embed(inference, 9, 0, 1, NULL, BIRD_OK));
    bird_inference_destroy(inference);
}

static atomic_bool stop_calling;

static void *calls_until_told(void *unused) {
    (void)unused;
    while (!atomic_load(&stop_calling)) CHECK(embed(shared_inference, 9, 0, 1, NULL, BIRD_OK));
    return NULL;
}

static void children_embed(void) {
    pthread_t caller;
    shared_inference = make();
    atomic_store(&stop_calling, false);
    pthread_create(&caller, NULL, calls_until_told, NULL);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
            /* ThreadSanitizer does not support threads after a fork. The allocator of
             * AddressSanitizer leaves its own lock held if another thread allocates during the fork
             * (seen with GCC 12, in about one child of 60). So only the handlers run here; the
             * plain build tests the rest. */
            _exit(0);
#endif
            alarm(20);
            _exit(embed(shared_inference, 9, 7, 2, NULL, BIRD_OK) ? 0 : 1);
        }
        int code = -1;
        CHECK(waitpid(child, &code, 0) == child && code == 0);
    }
    atomic_store(&stop_calling, true);
    pthread_join(caller, NULL);
    bird_inference_destroy(shared_inference);
}

static void weights_are_counted(void) {
    bird_weights *weights = NULL;
    bird_inference *one = NULL, *two = NULL;
    CHECK_OK(bird_weights_create(&weights, &tiny, 3, err));
    CHECK_OK(bird_inference_create(&one, weights, err));
    CHECK_OK(bird_inference_create(&two, weights, err));
    bird_inference_destroy(one);
    bird_weights_release(weights);
    CHECK(embed(two, 3, 0, 1, NULL, BIRD_OK)); /* the last reference is that of `two` */
    bird_inference_destroy(two);
}

int main(void) {
    micro_batches();
    each_precision_has_its_plans();
    plans_are_bounded();
    bad_sizes();
    callers_share_a_model();
    cancelled_between_micro_batches();
    children_embed();
    weights_are_counted();
    return check_failures;
}
