#include "nn/observe.h"

#include <math.h>

#include "nn/plan_build.h"

typedef struct observation {
    size_t count;
    float *largest; /* borrowed */
} observation;

static void run(const void *context, void *const *data, int n_threads) {
    const observation *asked = context;
    const float *values = data[0];
    float largest = 0;
    (void)n_threads;
    for (size_t i = 0; i < asked->count; i++) {
        /* fmaxf would ignore NaN. */
        const float value = isnan(values[i]) ? INFINITY : fabsf(values[i]);
        largest = fmaxf(largest, value);
    }
    *asked->largest = largest;
}

bird_status bird_observe_largest(bird_plan *plan, bird_value value, float *largest,
                                 bird_error *err) {
    const size_t size = dnnl_memory_desc_get_size(bird_plan_md(plan, value));
    const observation asked = {.count = size / sizeof(float), .largest = largest};
    return bird_plan_push_custom(plan, run, &asked, sizeof asked, 1, &value, err);
}
