/* oneDNN's engine and stream, made once on the compute thread, and its errors as our statuses.
 *
 * Everything here and in the rest of csrc/nn runs on the compute thread (base/executor.h) unless
 * its comment says otherwise.
 */
#ifndef BIRD_NN_ENGINE_H
#define BIRD_NN_ENGINE_H

#include <oneapi/dnnl/dnnl.h>

#include "base/status.h"

/* The CPU engine and its stream, one per process. Borrowed; never destroyed. */
typedef struct bird_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} bird_engine;

/* Return the engine, which the first call creates. Return BIRD_BACKEND if the library is older than
 * the headers that this code was built with. */
bird_status bird_engine_get(const bird_engine **engine, bird_error *err);

/* Set or return the number of OpenMP threads for primitives created and executed from now on. */
void bird_engine_set_threads(int n_threads);
int bird_engine_threads(void);

/* Fill in `err` for a failed oneDNN call, and return BIRD_NOMEM or BIRD_BACKEND. */
bird_status bird_fail_dnnl(bird_error *err, dnnl_status_t status, const char *call);

/* Like BIRD_TRY, for oneDNN calls. */
#define BIRD_DNNL(call)                                           \
    do {                                                          \
        dnnl_status_t dnnl_result = (call);                       \
        if (dnnl_result != dnnl_success) {                        \
            status = bird_fail_dnnl(err, dnnl_result, #call);     \
            goto cleanup;                                         \
        }                                                         \
    } while (0)

#endif
