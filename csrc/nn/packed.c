#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdint.h>

#include "base/alloc.h"
#include "nn/isa.h"
#include "nn/packed_build.h"

/* Weights lie in chunks that are large enough for huge pages (bird_alloc_settle). The unused part
 * of a chunk is never touched, so it costs no memory. */
static const size_t least_chunk = (size_t)32 << 20; /* bytes */

/* Scratch for the plain weights of one convolution. Larger than most need, also for huge pages. */
static const size_t least_scratch = (size_t)12 << 20; /* bytes */

enum { FILTERS = 16 }; /* filters that a thread folds at a time */

typedef struct chunk {
    char *data; /* owned (size) */
    size_t used, size;
    struct chunk *next; /* owned */
} chunk;

/* One layout of the weights of a convolution, or the output of a transform. */
typedef struct form {
    dnnl_memory_desc_t md; /* owned */
    void *data;            /* borrowed from a chunk */
    struct form *next;     /* owned */
} form;

typedef struct entry {
    form *forms; /* owned list, of length one or two */
    float *bias;   /* owned (oc); NULL until first needed */
    float *scales; /* owned (oc): step size per filter; NULL without int8 weights */
} entry;

struct bird_packed {
    entry *entries; /* owned (n_keys) */
    int n_keys;
    chunk *chunks; /* owned list, the one being filled first */
    bird_plain_fn plain;
    const void *owner; /* borrowed: outlives the store */
    float *scratch; /* owned: the plain weights of a convolution; NULL when settled */
    size_t scratch_size;
};

bird_status bird_packed_create(bird_packed **packed, int n_keys, bird_plain_fn plain,
                               const void *owner, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_packed *made = bird_calloc(1, sizeof *made);
    *packed = NULL;
    if (made) made->entries = bird_calloc((size_t)n_keys, sizeof *made->entries);
    if (!made || !made->entries) BIRD_FAIL(BIRD_NOMEM, "out of memory for packed weights");
    made->n_keys = n_keys;
    made->plain = plain;
    made->owner = owner;
    *packed = made;
    made = NULL;
cleanup:
    bird_packed_destroy(made);
    return status;
}

static void destroy_form(form *old) {
    if (!old) return;
    dnnl_memory_desc_destroy(old->md);
    bird_free(old);
}

void bird_packed_destroy(bird_packed *packed) {
    if (!packed) return;
    for (int i = 0; packed->entries && i < packed->n_keys; i++) {
        form *next;
        for (form *at = packed->entries[i].forms; at; at = next) {
            next = at->next;
            destroy_form(at);
        }
        bird_free(packed->entries[i].bias);
        bird_free(packed->entries[i].scales);
    }
    bird_free(packed->entries);
    for (chunk *at = packed->chunks, *next; at; at = next) {
        next = at->next;
        bird_free(at->data);
        bird_free(at);
    }
    bird_free(packed->scratch);
    bird_free(packed);
}

void bird_packed_settle(bird_packed *packed) {
    for (chunk *at = packed->chunks; at; at = at->next) bird_alloc_settle(at->data, at->used);
    bird_free(packed->scratch);
    packed->scratch = NULL;
    packed->scratch_size = 0;
}

/* Take `size` bytes from the first chunk, or from a new one. Return NULL if memory runs out. */
static void *take(bird_packed *packed, size_t size) {
    const size_t rounded = bird_aligned_size(size);
    chunk *first = packed->chunks;

    if (!first || first->size - first->used < rounded) {
        chunk *made = bird_calloc(1, sizeof *made);
        if (!made) return NULL;
        made->size = rounded > least_chunk ? rounded : least_chunk;
        made->data = bird_alloc(made->size);
        if (!made->data) {
            bird_free(made);
            return NULL;
        }
        made->next = first;
        packed->chunks = first = made;
    }
    first->used += rounded;
    return first->data + first->used - rounded;
}

/* Bring plain weights into layout `md` at `data` (which has md's size). */
static bird_status reorder(void *data, const_dnnl_memory_desc_t md, void *plain,
                           const_dnnl_memory_desc_t plain_md, bird_error *err) {
    bird_status status = BIRD_OK;
    const bird_engine *engine;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL, to = NULL;

    BIRD_TRY(bird_engine_get(&engine, err));
    BIRD_DNNL(dnnl_reorder_primitive_desc_create(&pd, plain_md, engine->engine, md,
                                                 engine->engine, NULL));
    BIRD_DNNL(dnnl_primitive_create(&primitive, pd));
    BIRD_DNNL(dnnl_memory_create(&from, plain_md, engine->engine, plain));
    BIRD_DNNL(dnnl_memory_create(&to, md, engine->engine, data));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    BIRD_DNNL(dnnl_primitive_execute(primitive, engine->stream, 2, args));
    BIRD_DNNL(dnnl_stream_wait(engine->stream));
cleanup:
    dnnl_memory_destroy(to);
    dnnl_memory_destroy(from);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

/* Replace the plain weights (oc, each) by bytes, in place: each weight becomes the nearest whole
 * number of steps. scales[o] receives the step size of filter o, chosen so that the largest weight
 * of the filter is the largest number of steps that the kernels allow. */
static void round_to_bytes(float *plain, float *scales, size_t oc, size_t each) {
    int8_t *to = (int8_t *)plain; /* writing never overtakes reading */
    const float steps = (float)bird_isa_largest_int8_weight();
    for (size_t o = 0; o < oc; o++) {
        const float *filter = plain + o * each;
        float largest = 0;
        for (size_t i = 0; i < each; i++) largest = fmaxf(largest, fabsf(filter[i]));
        scales[o] = largest > 0 ? largest / steps : 1;
        for (size_t i = 0; i < each; i++)
            to[o * each + i] = (int8_t)lrintf(filter[i] / scales[o]);
    }
}

/* Bring plain weights into an int8 layout, and store their scales in the entry of `key`. */
static bird_status pack_bytes(bird_packed *packed, int key, void *data, const_dnnl_memory_desc_t md,
                              float *plain, const_dnnl_memory_desc_t plain_md, bird_error *err) {
    bird_status status = BIRD_OK;
    entry *of = &packed->entries[key];
    dnnl_memory_desc_t bytes_md = NULL;
    dnnl_dims_t *dims = NULL;

    BIRD_DNNL(dnnl_memory_desc_query(plain_md, dnnl_query_dims, &dims));
    const size_t oc = (size_t)(*dims)[0];
    const size_t each = (size_t)((*dims)[1] * (*dims)[2] * (*dims)[3]);
    if (!of->scales) of->scales = bird_alloc(oc * sizeof *of->scales);
    if (!of->scales) BIRD_FAIL(BIRD_NOMEM, "out of memory for packed weights");
    BIRD_DNNL(dnnl_memory_desc_create_with_tag(&bytes_md, 4, *dims, dnnl_s8, dnnl_oihw));
    round_to_bytes(plain, of->scales, oc, each);
    BIRD_TRY(reorder(data, md, plain, bytes_md, err));
cleanup:
    dnnl_memory_desc_destroy(bytes_md);
    return status;
}

/* Return the plain weights of convolution `key`, folded by all threads; NULL if memory runs out.
 * Valid until the next call. The scratch is reused because touching new pages costs more than the
 * folding. */
static float *plain_weights(bird_packed *packed, int key, const dnnl_dims_t dims) {
    const int oc = (int)dims[0];
    const size_t each = (size_t)(dims[1] * dims[2] * dims[3]);
    const size_t size = (size_t)oc * each * sizeof *packed->scratch;

    if (packed->scratch_size < size) {
        const size_t larger = size > least_scratch ? size : least_scratch;
        bird_free(packed->scratch);
        packed->scratch = bird_alloc(larger);
        packed->scratch_size = packed->scratch ? larger : 0;
        if (!packed->scratch) return NULL;
    }
#pragma omp parallel for num_threads(bird_engine_threads()) schedule(static)
    for (int first = 0; first < oc; first += FILTERS) {
        const int left = oc - first;
        packed->plain(packed->owner, key, first, left < FILTERS ? left : FILTERS,
                      packed->scratch + (size_t)first * each, NULL);
    }
    return packed->scratch;
}

static bird_status add_form(form **out, bird_packed *packed, int key, const_dnnl_memory_desc_t md,
                            const_dnnl_memory_desc_t plain_md, bird_weights_transform transform,
                            bird_error *err) {
    bird_status status = BIRD_OK;
    dnnl_dims_t *dims = NULL;
    dnnl_data_type_t type;
    float *plain;
    form *made = bird_calloc(1, sizeof *made);

    *out = NULL;
    BIRD_DNNL(dnnl_memory_desc_query(plain_md, dnnl_query_dims, &dims));
    BIRD_DNNL(dnnl_memory_desc_query(md, dnnl_query_data_type, &type));
    if (made) made->data = take(packed, dnnl_memory_desc_get_size(md));
    plain = plain_weights(packed, key, *dims);
    if (!plain || !made || !made->data) BIRD_FAIL(BIRD_NOMEM, "out of memory for packed weights");
    BIRD_DNNL(dnnl_memory_desc_clone(&made->md, md));
    if (transform)
        transform(made->data, plain, (int)(*dims)[0], (int)(*dims)[1], bird_engine_threads());
    else if (type == dnnl_s8)
        BIRD_TRY(pack_bytes(packed, key, made->data, md, plain, plain_md, err));
    else
        BIRD_TRY(reorder(made->data, md, plain, plain_md, err));
    made->next = packed->entries[key].forms;
    packed->entries[key].forms = made;
    *out = made;
    made = NULL;
cleanup:
    destroy_form(made);
    return status;
}

bird_status bird_packed_get(bird_packed *packed, void **weights, float **bias, float **scales,
                            int key, const_dnnl_memory_desc_t md,
                            const_dnnl_memory_desc_t plain_md, bird_weights_transform transform,
                            bird_error *err) {
    bird_status status = BIRD_OK;
    entry *of = &packed->entries[key];
    form *found = of->forms;

    *weights = NULL;
    *bias = NULL;
    if (!of->bias) {
        dnnl_dims_t *dims = NULL;
        BIRD_DNNL(dnnl_memory_desc_query(plain_md, dnnl_query_dims, &dims));
        of->bias = bird_alloc((size_t)(*dims)[0] * sizeof *of->bias);
        if (!of->bias) BIRD_FAIL(BIRD_NOMEM, "out of memory for a bias");
        packed->plain(packed->owner, key, 0, (int)(*dims)[0], NULL, of->bias);
    }
    while (found && !dnnl_memory_desc_equal(found->md, md)) found = found->next;
    if (!found) BIRD_TRY(add_form(&found, packed, key, md, plain_md, transform, err));
    *weights = found->data;
    *bias = of->bias;
    if (scales) *scales = of->scales;
cleanup:
    return status;
}
