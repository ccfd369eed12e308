#include "model/params.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

void bird_params_init(bird_params *params) {
    *params = (bird_params){0};
}

void bird_params_deinit(bird_params *params) {
    bird_free(params->items);
    bird_params_init(params);
}

bird_status bird_params_add(bird_params *params, int *index, bird_param_kind kind,
                            const size_t dims[4], bird_error *err, const char *name_format, ...) {
    bird_param *added;
    va_list args;
    const size_t line = BIRD_ALIGNMENT / sizeof(float);

    if (params->n == params->capacity) {
        int larger = params->capacity ? params->capacity * 2 : 512;
        bird_param *grown = bird_realloc(params->items, (size_t)params->n * sizeof *grown,
                                         (size_t)larger * sizeof *grown);
        if (!grown) return bird_fail(err, BIRD_NOMEM, "out of memory for the parameter table");
        params->items = grown;
        params->capacity = larger;
    }
    added = &params->items[params->n];
    *added = (bird_param){.kind = kind, .count = 1, .offset = params->slab_count};
    for (; added->ndim < 4 && dims[added->ndim]; added->ndim++) {
        added->dims[added->ndim] = dims[added->ndim];
        added->count *= dims[added->ndim];
    }
    va_start(args, name_format);
    vsnprintf(added->name, sizeof added->name, name_format, args);
    va_end(args);
    params->slab_count += (added->count + line - 1) / line * line;
    *index = params->n++;
    return BIRD_OK;
}
