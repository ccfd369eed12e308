#include "data/batch.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/threads.h"

typedef struct loading {
    bird_image *images;         /* borrowed: (n) */
    bird_error *outcomes;       /* borrowed: (n) */
    const bird_source *sources; /* borrowed: (n) */
    size_t short_side;
} loading;

typedef struct filling {
    float *pixels;              /* borrowed: (n, 3, size, size) */
    bird_error *outcomes;       /* owned by the call: (n) */
    const bird_image *images;   /* borrowed: (n) */
    const int64_t *keys;        /* borrowed: (n) */
    const bird_preprocess *cfg; /* borrowed */
    bird_policy policy;
    uint64_t seed, epoch;
} filling;

/* Reduce the short side to `side` if it is longer, and keep the aspect ratio. */
static bird_status reduce(bird_image *image, size_t side, bird_error *err) {
    bool tall = image->height > image->width;
    size_t shorter = tall ? image->width : image->height;
    size_t longer = tall ? image->height : image->width;
    bird_image small;
    bird_window all;
    bird_status status;
    if (side == 0 || shorter <= side) return BIRD_OK;
    longer = (size_t)nearbyint((double)longer * (double)side / (double)shorter);
    small.width = tall ? side : longer;
    small.height = tall ? longer : side;
    small.pixels = bird_alloc(3 * small.width * small.height);
    if (!small.pixels) return bird_fail(err, BIRD_NOMEM, "out of memory reducing an image");
    all = (bird_window){0, 0, small.width, small.height};
    status = bird_resize(small.pixels, image->pixels, image->height, image->width, small.height,
                         small.width, all, BIRD_BILINEAR, err);
    bird_image_deinit(status == BIRD_OK ? image : &small);
    if (status == BIRD_OK) *image = small;
    return status;
}

static void load_item(void *context, size_t item, int thread) {
    const loading *l = context;
    bird_image *image = &l->images[item];
    bird_error *outcome = &l->outcomes[item];
    bird_status status = bird_load_source(image, &l->sources[item], outcome);
    (void)thread;
    if (status == BIRD_OK) status = reduce(image, l->short_side, outcome);
    if (status != BIRD_OK) bird_image_deinit(image);
    outcome->code = status;
}

bird_status bird_batch_load(bird_image *images, bird_error *outcomes, const bird_source *sources,
                            size_t n, size_t short_side, int n_threads, bird_cancel *cancel,
                            bird_error *err) {
    loading l = {images, outcomes, sources, short_side};
    memset(images, 0, n * sizeof *images);
    memset(outcomes, 0, n * sizeof *outcomes);
    return bird_parallel_for(n, n_threads, load_item, &l, cancel, err);
}

static void fill_item(void *context, size_t item, int thread) {
    const filling *f = context;
    const bird_image *image = &f->images[item];
    bird_error *outcome = &f->outcomes[item];
    size_t size = (size_t)f->cfg->size;
    float *dst = f->pixels + item * 3 * size * size;
    (void)thread;
    if (f->policy == BIRD_POLICY_NONE) {
        outcome->code = bird_preprocess_image(dst, image, f->cfg, outcome);
    } else {
        bird_rng rng =
            bird_rng_stream(f->seed, BIRD_STREAM_AUGMENT, f->epoch, (uint64_t)f->keys[item]);
        bird_view view = bird_view_draw(f->policy, image->height, image->width, size, &rng);
        outcome->code = bird_view_apply(dst, image, &view, f->cfg, outcome);
    }
}

bird_status bird_batch_fill(float *pixels, const bird_image *images, const int64_t *keys,
                            size_t n, bird_policy policy, const bird_preprocess *cfg,
                            uint64_t seed, uint64_t epoch, int n_threads, bird_cancel *cancel,
                            bird_error *err) {
    filling f = {pixels, NULL, images, keys, cfg, policy, seed, epoch};
    bird_status status = bird_preprocess_check(cfg, err);
    if (status != BIRD_OK) return status;
    f.outcomes = bird_calloc(n, sizeof *f.outcomes);
    if (!f.outcomes) return bird_fail(err, BIRD_NOMEM, "out of memory for a batch of %zu", n);
    status = bird_parallel_for(n, n_threads, fill_item, &f, cancel, err);
    for (size_t i = 0; status == BIRD_OK && i < n; i++) {
        status = f.outcomes[i].code;
        if (status != BIRD_OK && err) *err = f.outcomes[i];
    }
    bird_free(f.outcomes);
    return status;
}
