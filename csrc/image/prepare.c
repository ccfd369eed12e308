#include "image/prepare.h"

#include <string.h>

#include "base/alloc.h"
#include "base/threads.h"
#include "image/decode.h"
#include "image/read_file.h"

typedef struct batch {
    float *pixels;              /* borrowed: (n, 3, size, size) */
    bird_error *outcomes;       /* borrowed: (n) */
    const bird_source *sources; /* borrowed: (n) */
    const bird_preprocess *cfg; /* borrowed */
} batch;

bird_status bird_load_source(bird_image *image, const bird_source *source, bird_error *err) {
    uint8_t *data;
    size_t size;
    bird_status status;
    *image = (bird_image){0};
    if (source->kind == BIRD_ARRAY)
        return bird_image_from_array(image, source->data, source->height, source->width,
                                     source->channels, err);
    if (source->kind == BIRD_BYTES) return bird_decode(image, source->data, source->size, err);
    status = bird_read_file(&data, &size, source->path, err);
    if (status != BIRD_OK) return status;
    status = bird_decode(image, data, size, err);
    bird_free(data);
    return status;
}

static void prepare_item(void *context, size_t item, int thread) {
    const batch *b = context;
    size_t slot = 3 * (size_t)b->cfg->size * (size_t)b->cfg->size;
    bird_image image = {0};
    bird_error *outcome = &b->outcomes[item];
    float *dst = b->pixels + item * slot;
    bird_status status = bird_load_source(&image, &b->sources[item], outcome);
    (void)thread;
    if (status == BIRD_OK && b->cfg->mirrored) bird_image_mirror(&image);
    if (status == BIRD_OK) status = bird_preprocess_image(dst, &image, b->cfg, outcome);
    if (status != BIRD_OK) memset(dst, 0, slot * sizeof *dst);
    outcome->code = status;
    bird_image_deinit(&image);
}

bird_status bird_prepare(float *pixels, bird_error *outcomes, const bird_source *sources,
                         size_t n, const bird_preprocess *cfg, int n_threads,
                         bird_cancel *cancel, bird_error *err) {
    batch b = {pixels, outcomes, sources, cfg};
    bird_status status = bird_preprocess_check(cfg, err);
    if (status != BIRD_OK) return status;
    memset(outcomes, 0, n * sizeof *outcomes);
    return bird_parallel_for(n, n_threads, prepare_item, &b, cancel, err);
}
