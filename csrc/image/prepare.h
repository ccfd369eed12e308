/* Read, decode and preprocess a batch of sources, each with its own outcome. */
#ifndef BIRD_IMAGE_PREPARE_H
#define BIRD_IMAGE_PREPARE_H

#include "base/cancel.h"
#include "image/preprocess.h"

typedef enum bird_source_kind { BIRD_PATH, BIRD_BYTES, BIRD_ARRAY } bird_source_kind;

typedef struct bird_source {
    bird_source_kind kind;
    const char *path;    /* BIRD_PATH: borrowed, in the encoding of the system */
    const uint8_t *data; /* BIRD_BYTES: the file; BIRD_ARRAY: (height, width, channels); borrowed */
    size_t size;         /* BIRD_BYTES */
    size_t height, width;
    int channels; /* BIRD_ARRAY: 1, 3 or 4 */
} bird_source;

/* Read and decode one source and rotate it upright. The caller deinits *image. */
bird_status bird_load_source(bird_image *image, const bird_source *source, bird_error *err);

/* Fill pixels (n, 3, size, size) from n sources on up to n_threads threads. outcomes[i].code
 * is BIRD_OK, or the reason why slot i is all zero; a bad source does not affect the others.
 * Returns BIRD_OK for any outcomes, BIRD_ARG for an invalid cfg, BIRD_CANCELLED. */
bird_status bird_prepare(float *pixels, bird_error *outcomes, const bird_source *sources,
                         size_t n, const bird_preprocess *cfg, int n_threads,
                         bird_cancel *cancel, bird_error *err);

#endif
