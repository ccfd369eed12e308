/* Mean and variance of each channel. */
#include "operation.h"

#include "nn/channel_moments.h"

static bird_status push_moments(const graph *asked, bird_plan *plan, const bird_value *in,
                                bird_value *out, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_value mean, var;
    (void)out;
    BIRD_TRY(bird_plan_vector(plan, &mean, asked->in_shapes[0].c, asked->vectors[MEAN], err));
    BIRD_TRY(bird_plan_vector(plan, &var, asked->in_shapes[0].c, asked->vectors[VAR], err));
    BIRD_TRY(bird_channel_moments(plan, mean, var, in[0], err));
cleanup:
    return status;
}

/* Many pixels far from zero, for which a plain sum in float32 is off by a thousandth. The first
 * pixel is far from the others. */
static void exact_moments(void) {
    const shape s = {8, 32, 64, 61};
    const size_t n = count_of(s), area = 64 * 61;
    float *src = numbers(n, false), mean[32], var[32];
    graph g = {.push = push_moments, .n_in = 1, .in_shapes = {s}, .in = {src},
               .vectors = {[MEAN] = mean, [VAR] = var}};
    for (size_t i = 0; i < n; i++) src[i] = rounded(src[i] + (i % area == 0 ? -200.0f : 100.0f));
    CHECK_OK(bird_executor_run(execute, &g, NULL, err));
    for (size_t c = 0; c < 32; c++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++)
            if (i / area % 32 == c) sum += (double)src[i];
        sum /= 8.0 * (double)area;
        for (size_t i = 0; i < n; i++)
            if (i / area % 32 == c) square += ((double)src[i] - sum) * ((double)src[i] - sum);
        square /= 8.0 * (double)area;
        CHECK(fabs((double)mean[c] - sum) <= 4e-6); /* half a step of float32 at 100 */
        /* coarse numbers round in the same way, so their errors add up */
        CHECK(fabs((double)var[c] - square) <= (precision == BIRD_BFLOAT16 ? 4e-6 : 1e-6) * square);
    }
    bird_free(src);
}

int main(void) {
    return in_both_precisions(exact_moments);
}
