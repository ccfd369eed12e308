/* Batches: good and bad sources side by side, threads, configuration, cancelling. */
#include "image/prepare.h"

#include <string.h>

#include "check.h"
#include "pictures.h"

enum { SIZE = 12, SLOT = 3 * SIZE * SIZE, N = 40 };

static const bird_preprocess cfg = {
    .size = SIZE, .crop_pct = 1, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.4f}};

static float one[N * SLOT], two[N * SLOT];
static bird_error outcomes[N];

static void fill(bird_source *sources) {
    static const uint8_t array[2 * 2 * 4] = {9, 8, 7, 255};
    memset(sources, 0, N * sizeof *sources);
    for (int i = 0; i < N; i++) {
        const picture *p = &pictures[i % N_PICTURES];
        sources[i] = (bird_source){.kind = BIRD_BYTES, .data = p->data, .size = p->size};
    }
    sources[3] = (bird_source){.kind = BIRD_PATH, .path = "no such file"};
    sources[5] = (bird_source){.kind = BIRD_PATH, .path = "/"};
    sources[7].size = 50;
    sources[9] = (bird_source){
        .kind = BIRD_ARRAY, .data = array, .height = 2, .width = 2, .channels = 4};
    sources[11] = (bird_source){
        .kind = BIRD_ARRAY, .data = array, .height = 2, .width = 2, .channels = 2};
}

static void bad_ones_leave_good_ones_alone(void) {
    bird_source sources[N];
    fill(sources);
    CHECK_OK(bird_prepare(one, outcomes, sources, N, &cfg, 1, NULL, err));
    CHECK_OK(bird_prepare(two, outcomes, sources, N, &cfg, 5, NULL, err));
    CHECK(memcmp(one, two, sizeof one) == 0);
    for (int i = 0; i < N; i++) {
        bird_status wanted = i == 3 || i == 5 ? BIRD_IO : i == 7 ? BIRD_FORMAT
                             : i == 11        ? BIRD_SHAPE : BIRD_OK;
        CHECK(outcomes[i].code == wanted);
        CHECK(wanted == BIRD_OK || one[i * SLOT] == 0);
    }
    CHECK(strstr(outcomes[3].message, "No such file") != NULL);
    CHECK(strstr(outcomes[5].message, "directory") != NULL);
}

static void bad_configurations(void) {
    bird_preprocess bad = cfg;
    bad.size = 0;
    CHECK(bird_prepare(one, outcomes, NULL, 0, &bad, 1, NULL, NULL) == BIRD_ARG);
    bad = cfg;
    bad.crop_pct = 1.5;
    CHECK(bird_prepare(one, outcomes, NULL, 0, &bad, 1, NULL, NULL) == BIRD_ARG);
    bad = cfg;
    bad.std[1] = 0;
    CHECK(bird_prepare(one, outcomes, NULL, 0, &bad, 1, NULL, NULL) == BIRD_ARG);
}

static bool always(void *context) {
    (void)context;
    return true;
}

static void cancelling(void) {
    bird_source sources[N];
    bird_cancel cancel;
    fill(sources);
    bird_cancel_init(&cancel, always, NULL);
    cancel.next_poll_ns = 0;
    CHECK(bird_prepare(one, outcomes, sources, N, &cfg, 2, &cancel, NULL) == BIRD_CANCELLED);
}

int main(void) {
    bad_ones_leave_good_ones_alone();
    bad_configurations();
    cancelling();
    return check_failures;
}
