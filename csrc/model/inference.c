#include "model/inference.h"

#include <string.h>

#include "base/alloc.h"
#include "base/executor.h"
#include "model/inference_plan.h"

/* Plans are small compared with the weights, but their slabs are not (80 MB for 8 images of 224
 * px), so the least recently used are freed. The one in use is kept, whatever its size. */
enum { MAX_PLANS = 6 };
static const size_t max_slabs = (size_t)1 << 30; /* bytes */

struct bird_inference {
    bird_weights *weights; /* owned reference */
    /* Only used on the compute thread, so no lock is needed. Most recently used first. */
    bird_inference_plan *plans[MAX_PLANS]; /* owned */
    int n_plans;
};

bird_status bird_inference_create(bird_inference **inference, bird_weights *weights,
                                  bird_error *err) {
    bird_inference *made = bird_calloc(1, sizeof *made);
    *inference = NULL;
    if (!made) return bird_fail(err, BIRD_NOMEM, "out of memory for a model");
    made->weights = bird_weights_retain(weights);
    *inference = made;
    return BIRD_OK;
}

void bird_inference_destroy(bird_inference *inference) {
    if (!inference) return;
    for (int i = 0; i < inference->n_plans; i++)
        bird_inference_plan_destroy(inference->plans[i]);
    bird_weights_release(inference->weights);
    bird_free(inference);
}

int bird_inference_map_side(int side) {
    return (side + 31) / 32;
}

/* Free plans from the end until the slabs are within the limit. */
static void trim(bird_inference *inference) {
    size_t size = 0;
    int kept = 0;
    for (; kept < inference->n_plans; kept++) {
        size += bird_inference_plan_size(inference->plans[kept]);
        if (kept > 0 && size > max_slabs) break;
    }
    while (inference->n_plans > kept)
        bird_inference_plan_destroy(inference->plans[--inference->n_plans]);
}

/* Return the plan for a key, moved to the front of the list; create it if it does not exist. */
static bird_status find_plan(bird_inference_plan **plan, bird_inference *inference,
                             bird_inference_key key, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_inference_plan *found = NULL;
    int at;

    *plan = NULL;
    for (at = 0; at < inference->n_plans; at++)
        if (bird_inference_plan_fits(inference->plans[at], key)) break;
    if (at < inference->n_plans) {
        found = inference->plans[at];
    } else {
        BIRD_TRY(bird_inference_plan_create(&found, inference->weights, key, err));
        if (inference->n_plans == MAX_PLANS)
            bird_inference_plan_destroy(inference->plans[--inference->n_plans]);
        at = inference->n_plans++;
    }
    memmove(&inference->plans[1], &inference->plans[0], (size_t)at * sizeof *inference->plans);
    inference->plans[0] = found;
    trim(inference);
    *plan = found;
cleanup:
    return status;
}

typedef struct forward_job {
    bird_inference *inference; /* borrowed, like the other pointers, from the waiting caller */
    bird_inference_key key;
    const float *pixels; /* (key.batch, 3, height, width) */
    float *out;          /* maps, features or, if observed, largest values of key.batch images */
    bool pooled;
    bird_pooling pooling;
} forward_job;

static bird_status forward(void *context, bird_job *job, bird_error *err) {
    bird_status status = BIRD_OK;
    const forward_job *asked = context;
    bird_inference_key key = asked->key;
    const bird_resnet *net = bird_weights_net(asked->inference->weights);
    const size_t pixels = (size_t)bird_inference_map_side(asked->key.height) *
                          (size_t)bird_inference_map_side(asked->key.width);
    const size_t c = (size_t)net->num_features;
    bird_inference_plan *plan;

    /* The results do not depend on the number of threads. */
    key.n_threads = bird_inference_threads(key.n_threads);
    BIRD_TRY(find_plan(&plan, asked->inference, key, err));
    BIRD_TRY(bird_inference_plan_run(plan, asked->pixels, job, err));
    if (key.observed) {
        memcpy(asked->out, bird_inference_plan_largest(plan),
               (size_t)bird_resnet_n_ranges(net) * sizeof(float));
        return BIRD_OK;
    }
    for (int i = 0; i < asked->key.batch; i++) {
        const float *map = bird_inference_plan_map(plan, i);
        if (asked->pooled)
            bird_pool_features(asked->out + (size_t)i * c, map, pixels, c, asked->pooling);
        else
            bird_channels_first(asked->out + (size_t)i * c * pixels, map, pixels, c);
    }
cleanup:
    return status;
}

/* Run all images in batches. `template` has no batch, pixels and out yet; `each` is the number of
 * output floats per image. */
static bird_status run(forward_job template, float *out, const float *pixels, size_t n,
                       size_t each, bird_cancel *cancel, bird_error *err) {
    bird_status status = BIRD_OK;
    const size_t image = 3 * (size_t)template.key.height * (size_t)template.key.width;
    int sizes[BIRD_N_BATCHES];
    const int *size = sizes;

    if (template.key.height < BIRD_MIN_SIDE || template.key.width < BIRD_MIN_SIDE ||
        template.key.height > BIRD_MAX_SIDE || template.key.width > BIRD_MAX_SIDE)
        BIRD_FAIL(BIRD_SHAPE,
                  "images for the network must have sides of %d to %d pixels, got %dx%d",
                  BIRD_MIN_SIDE, BIRD_MAX_SIDE, template.key.height, template.key.width);
    bird_inference_batches(sizes, template.key.n_threads);
    for (size_t done = 0; done < n; done += (size_t)*size) {
        while ((size_t)*size > (template.key.observed ? 1 : n - done)) size++;
        forward_job job = template;
        job.key.batch = *size;
        job.pixels = pixels + done * image;
        job.out = out + done * each;
        BIRD_TRY(bird_executor_run(forward, &job, cancel, err));
    }
cleanup:
    return status;
}

bird_status bird_inference_maps(bird_inference *inference, float *maps, const float *pixels,
                                size_t n, int height, int width, bird_precision precision,
                                int n_threads, bird_cancel *cancel, bird_error *err) {
    const bird_resnet *net = bird_weights_net(inference->weights);
    const size_t each = (size_t)net->num_features * (size_t)bird_inference_map_side(height) *
                        (size_t)bird_inference_map_side(width);
    const forward_job job = {
        .inference = inference,
        .key = {.height = height, .width = width, .n_threads = n_threads, .precision = precision},
    };
    return run(job, maps, pixels, n, each, cancel, err);
}

bird_status bird_inference_features(bird_inference *inference, float *features,
                                    const float *pixels, size_t n, int height, int width,
                                    bird_precision precision, bird_pooling pooling, int n_threads,
                                    bird_cancel *cancel, bird_error *err) {
    const bird_resnet *net = bird_weights_net(inference->weights);
    const forward_job job = {
        .inference = inference,
        .key = {.height = height, .width = width, .n_threads = n_threads, .precision = precision},
        .pooled = true,
        .pooling = pooling,
    };
    return run(job, features, pixels, n, (size_t)net->num_features, cancel, err);
}

bird_status bird_inference_largest(bird_inference *inference, float *largest, const float *pixels,
                                   size_t n, int height, int width, int n_threads,
                                   bird_cancel *cancel, bird_error *err) {
    const bird_resnet *net = bird_weights_net(inference->weights);
    const forward_job job = {
        .inference = inference,
        .key = {.height = height, .width = width, .n_threads = n_threads, .observed = true},
    };
    return run(job, largest, pixels, n, (size_t)bird_resnet_n_ranges(net), cancel, err);
}
