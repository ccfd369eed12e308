#include "nn/engine.h"

#include <omp.h>

static bird_engine shared;
static int ready; /* only the compute thread reads and writes it */

bird_status bird_engine_get(const bird_engine **engine, bird_error *err) {
    bird_status status = BIRD_OK;
    *engine = NULL;
    if (!ready) {
        const dnnl_version_t *version = dnnl_version();
        if (version->major != DNNL_VERSION_MAJOR || version->minor < DNNL_VERSION_MINOR)
            BIRD_FAIL(BIRD_BACKEND, "oneDNN %d.%d was loaded, but %d.%d or a later %d.x is needed",
                      version->major, version->minor, DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR,
                      DNNL_VERSION_MAJOR);
        if (!shared.engine) BIRD_DNNL(dnnl_engine_create(&shared.engine, dnnl_cpu, 0));
        BIRD_DNNL(
            dnnl_stream_create(&shared.stream, shared.engine, dnnl_stream_default_flags));
        ready = 1;
    }
    *engine = &shared;
cleanup:
    return status;
}

void bird_engine_set_threads(int n_threads) {
    omp_set_num_threads(n_threads);
}

int bird_engine_threads(void) {
    return omp_get_max_threads();
}

bird_status bird_fail_dnnl(bird_error *err, dnnl_status_t status, const char *call) {
    static const char *const texts[] = {
        [dnnl_success] = "success",
        [dnnl_out_of_memory] = "out of memory",
        [dnnl_invalid_arguments] = "invalid arguments",
        [dnnl_unimplemented] = "not implemented",
        [dnnl_last_impl_reached] = "no further implementation",
        [dnnl_runtime_error] = "run-time error",
        [dnnl_not_required] = "not required",
    };
    const char *text = "unknown status";
    if ((size_t)status < sizeof texts / sizeof *texts && texts[status]) text = texts[status];
    return bird_fail(err, status == dnnl_out_of_memory ? BIRD_NOMEM : BIRD_BACKEND,
                     "oneDNN: %s: %s", text, call);
}
