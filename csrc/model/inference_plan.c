#include "model/inference_plan.h"

#include "base/alloc.h"
#include "nn/bytes.h"
#include "nn/conv.h"
#include "nn/conv_int8.h"
#include "nn/lanes.h"
#include "nn/observe.h"
#include "nn/plan.h"
#include "nn/pool.h"
#include "nn/team.h"

/* LEAST_LANE is the smallest number of images per lane; with fewer, the weights would be read too
 * often. SHARED_BATCH is the batch that all threads share if there are not enough images for lanes;
 * larger batches are no faster. */
enum { LEAST_LANE = 4, SHARED_BATCH = 8 };

/* The plan of a batch, or of one lane's part of it. */
typedef struct part {
    bird_plan *plan; /* owned */
    bird_value input, maps;
} part;

struct bird_inference_plan {
    bird_inference_key key;
    int n_parts;     /* 1, or the number of lanes */
    int each;        /* images per part */
    size_t image;    /* floats per image */
    size_t map;      /* floats per feature map */
    float *largest;  /* owned (bird_resnet_n_ranges); NULL unless observed */
    part parts[BIRD_MAX_LANES];
};

/* A tensor on its way through the network. In int8 its data are in `bytes`. */
typedef struct flow {
    bird_value value;
    bird_bytes bytes; /* bytes.value is BIRD_NO_VALUE in other precisions */
    int n, c, h, w;
} flow;

typedef struct builder {
    bird_plan *plan;           /* borrowed from the plan being made */
    const bird_resnet *net;    /* borrowed from the weights */
    bird_packed *packed;       /* borrowed from the weights */
    const float *ranges;       /* borrowed from the weights; NULL unless int8 */
    float *largest;            /* borrowed from the plan being made; NULL if not wanted */
} builder;

/* Append at = conv(at) + residual, then a ReLU if `relu`. `residual` may be NULL. */
static bird_status conv(builder *build, flow *at, int index, const flow *residual, bool relu,
                        bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_conv_bn *unit = &build->net->convs[index];
    const bird_conv shape = {.n = at->n, .ic = at->c, .ih = at->h, .iw = at->w, .oc = unit->oc,
                             .kernel = unit->kernel, .stride = unit->stride, .pad = unit->pad};
    bird_value src = at->value;
    at->c = unit->oc;
    at->h = bird_conv_out(&shape, shape.ih);
    at->w = bird_conv_out(&shape, shape.iw);
    if (at->bytes.value != BIRD_NO_VALUE)
        return bird_conv_int8(build->plan, &at->bytes, &at->bytes,
                              residual ? &residual->bytes : NULL, &shape, relu,
                              build->ranges[index], build->packed, index, err);
    BIRD_TRY(bird_conv_inference(build->plan, &at->value, src,
                                 residual ? residual->value : BIRD_NO_VALUE, &shape, relu,
                                 build->packed, index, err));
    if (build->largest)
        BIRD_TRY(bird_observe_largest(build->plan, at->value, &build->largest[index], err));
cleanup:
    return status;
}

/* Return the value that pooling reads and replaces: numbers or bytes. */
static bird_value *pooled(flow *at) {
    return at->bytes.value == BIRD_NO_VALUE ? &at->value : &at->bytes.value;
}

/* Convert the images to the form that the first convolution reads. */
static bird_status images(builder *build, flow *at, bird_value input, bird_precision precision,
                          bird_error *err) {
    if (precision == BIRD_INT8)
        return bird_bytes_of(build->plan, &at->bytes, input, build->ranges[build->net->n_convs],
                             true, err);
    return bird_in_precision(build->plan, &at->value, input, precision, err);
}

static bird_status stem(builder *build, flow *at, bird_error *err) {
    bird_status status = BIRD_OK;
    for (int i = 0; i < build->net->n_stem; i++)
        BIRD_TRY(conv(build, at, build->net->stem[i], NULL, true, err));

    const bird_pool pool = {.n = at->n, .c = at->c, .ih = at->h, .iw = at->w, .kernel = 3,
                            .stride = 2, .pad = 1, .oh = (at->h + 1) / 2, .ow = (at->w + 1) / 2};
    at->h = pool.oh;
    at->w = pool.ow;
    BIRD_TRY(bird_max_pool_inference(build->plan, pooled(at), *pooled(at), &pool, err));
cleanup:
    return status;
}

static bird_status shortcut(builder *build, flow *at, const bird_block *block, bird_error *err) {
    bird_status status = BIRD_OK;
    if (block->shortcut_pool) {
        const bird_pool pool = {.n = at->n, .c = at->c, .ih = at->h, .iw = at->w, .kernel = 2,
                                .stride = 2, .oh = (at->h + 1) / 2, .ow = (at->w + 1) / 2};
        at->h = pool.oh;
        at->w = pool.ow;
        BIRD_TRY(bird_average_pool_inference(build->plan, pooled(at), *pooled(at), &pool, err));
    }
    BIRD_TRY(conv(build, at, block->shortcut, NULL, false, err));
cleanup:
    return status;
}

static bird_status residual_block(builder *build, flow *at, const bird_block *block,
                                  bird_error *err) {
    bird_status status = BIRD_OK;
    const int last = block->n_convs - 1;
    flow residual = *at;
    if (block->shortcut >= 0) BIRD_TRY(shortcut(build, &residual, block, err));
    for (int i = 0; i < last; i++) BIRD_TRY(conv(build, at, block->convs[i], NULL, true, err));
    BIRD_TRY(conv(build, at, block->convs[last], &residual, true, err));
cleanup:
    return status;
}

static int lanes_of(bird_inference_key key) {
    if (key.n_threads > BIRD_MAX_LANES || key.batch % key.n_threads != 0) return 1;
    return key.batch / key.n_threads >= LEAST_LANE ? key.n_threads : 1;
}

int bird_inference_threads(int n_threads) {
    return bird_team_size(n_threads);
}

int bird_inference_batches(int sizes[BIRD_N_BATCHES], int n_threads) {
    int n = 0;
    if (n_threads > 1 && n_threads <= BIRD_MAX_LANES) sizes[n++] = LEAST_LANE * n_threads;
    if (n == 0 || sizes[n - 1] > SHARED_BATCH) sizes[n++] = SHARED_BATCH;
    sizes[n++] = 1;
    return n;
}

static bird_status create_part(part *made, const bird_weights *weights, bird_inference_key key,
                               float *largest, size_t *map, bird_error *err) {
    bird_status status = BIRD_OK;
    builder build = {.net = bird_weights_net(weights), .packed = bird_weights_packed(weights)};
    flow at = {.n = key.batch, .c = 3, .h = key.height, .w = key.width,
               .bytes.value = BIRD_NO_VALUE};

    BIRD_TRY(bird_plan_create(&made->plan, key.n_threads, err));
    build.plan = made->plan;
    build.ranges = key.precision == BIRD_INT8 ? bird_weights_ranges(weights) : NULL;
    build.largest = largest;
    BIRD_TRY(bird_plan_input(made->plan, &made->input, at.n, at.c, at.h, at.w, err));
    if (largest)
        BIRD_TRY(bird_observe_largest(made->plan, made->input, &largest[build.net->n_convs], err));
    BIRD_TRY(images(&build, &at, made->input, key.precision, err));
    BIRD_TRY(stem(&build, &at, err));
    for (int i = 0; i < build.net->n_blocks; i++)
        BIRD_TRY(residual_block(&build, &at, &build.net->blocks[i], err));
    if (key.precision == BIRD_INT8)
        BIRD_TRY(bird_bytes_values(made->plan, &at.value, &at.bytes, err));
    BIRD_TRY(bird_plan_output_channels_last(made->plan, &made->maps, at.value, err));
    BIRD_TRY(bird_plan_finish(made->plan, err));
    *map = (size_t)at.c * (size_t)at.h * (size_t)at.w;
cleanup:
    bird_packed_settle(build.packed);
    return status;
}

bird_status bird_inference_plan_create(bird_inference_plan **plan, const bird_weights *weights,
                                       bird_inference_key key, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_inference_plan *made = bird_calloc(1, sizeof *made);
    bird_inference_key own = key;

    *plan = NULL;
    BIRD_TRY(bird_precision_require(key.precision, "embedding", err));
    if (key.precision == BIRD_INT8 && !bird_weights_ranges(weights))
        BIRD_FAIL(BIRD_ARG, "this network was not calibrated for int8");
    if (!made) BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan");
    if (key.observed) {
        const bird_resnet *net = bird_weights_net(weights);
        made->largest = bird_calloc((size_t)bird_resnet_n_ranges(net), sizeof *made->largest);
        if (!made->largest) BIRD_FAIL(BIRD_NOMEM, "out of memory for a plan");
    }
    made->key = key;
    made->n_parts = lanes_of(key);
    made->each = key.batch / made->n_parts;
    made->image = 3 * (size_t)key.height * (size_t)key.width;
    own.batch = made->each;
    if (made->n_parts > 1) own.n_threads = 1;
    for (int i = 0; i < made->n_parts; i++)
        BIRD_TRY(create_part(&made->parts[i], weights, own, made->largest, &made->map, err));
    *plan = made;
    made = NULL;
cleanup:
    bird_inference_plan_destroy(made);
    return status;
}

void bird_inference_plan_destroy(bird_inference_plan *plan) {
    if (!plan) return;
    for (int i = 0; i < plan->n_parts; i++) bird_plan_destroy(plan->parts[i].plan);
    bird_free(plan->largest);
    bird_free(plan);
}

bool bird_inference_plan_fits(const bird_inference_plan *plan, bird_inference_key key) {
    return plan->key.batch == key.batch && plan->key.height == key.height &&
           plan->key.width == key.width && plan->key.n_threads == key.n_threads &&
           plan->key.precision == key.precision && plan->key.observed == key.observed;
}

size_t bird_inference_plan_size(const bird_inference_plan *plan) {
    return (size_t)plan->n_parts * bird_plan_slab_size(plan->parts[0].plan);
}

bird_status bird_inference_plan_run(bird_inference_plan *plan, const float *pixels, bird_job *job,
                                    bird_error *err) {
    bird_status status = BIRD_OK;
    bird_plan *plans[BIRD_MAX_LANES];

    for (int i = 0; i < plan->n_parts; i++) {
        const float *own = pixels + (size_t)(i * plan->each) * plan->image;
        plans[i] = plan->parts[i].plan;
        /* oneDNN takes sources as void * but does not write to them. */
        BIRD_TRY(bird_plan_bind(plans[i], plan->parts[i].input, (void *)own, err));
    }
    if (plan->n_parts > 1)
        BIRD_TRY(bird_lanes_execute(plans, plan->n_parts, job, err));
    else
        BIRD_TRY(bird_plan_execute(plans[0], job, err));
cleanup:
    return status;
}

const float *bird_inference_plan_largest(const bird_inference_plan *plan) {
    return plan->largest;
}

const float *bird_inference_plan_map(const bird_inference_plan *plan, int image) {
    const part *of = &plan->parts[image / plan->each];
    const float *maps = bird_plan_data(of->plan, of->maps);
    return maps + (size_t)(image % plan->each) * plan->map;
}
