/* oneDNN's engine and stream, made once on the compute thread, and its errors as ours.
 *
 * Everything here and in the rest of csrc/nn runs on the compute thread (base/executor.h)
 * unless its comment says otherwise.
 */
#ifndef BIRD_NN_ENGINE_H
#define BIRD_NN_ENGINE_H

#include <oneapi/dnnl/dnnl.h>

#include "base/status.h"

/* The process-wide CPU engine and its stream; borrowed, never destroyed. */
typedef struct bird_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} bird_engine;

/* The first call makes the engine. BIRD_BACKEND if the library is older than the headers this was
 * built with. */
bird_status bird_engine_get(const bird_engine **engine, bird_error *err);

/* How many OpenMP threads primitives that are created and executed from now on use. */
void bird_engine_set_threads(int n_threads);
int bird_engine_threads(void);

/* Report a failed oneDNN call; returns BIRD_NOMEM or BIRD_BACKEND. */
bird_status bird_fail_dnnl(bird_error *err, dnnl_status_t status, const char *call);

/* Like BIRD_TRY, for a call of oneDNN. */
#define BIRD_DNNL(call)                                           \
    do {                                                          \
        dnnl_status_t dnnl_result = (call);                       \
        if (dnnl_result != dnnl_success) {                        \
            status = bird_fail_dnnl(err, dnnl_result, #call);     \
            goto cleanup;                                         \
        }                                                         \
    } while (0)

#endif
