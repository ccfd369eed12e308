#include "nn/split.h"

#include "nn/isa.h"
#include "nn/split_shape.h"

enum {
    PANEL_BYTES = 768 << 10, /* per thread; stays in a core's second cache beside weights and dst */
    FEW_WEIGHTS = 512 << 10  /* bytes; so few stay in that cache, too */
};

bool bird_split_fits(const bird_conv *conv) {
    if (!SPLIT_COMPILED || !bird_isa_has_amx()) return false;
    if (conv->ic % SPLIT_DEPTH != 0 || conv->oc % SPLIT_BLOCK != 0) return false;
    if (conv->kernel == 1) return conv->pad == 0;
    return conv->kernel == 3 && conv->stride == 1 && conv->pad == 1;
}

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

/* Return how many rows of output pixels are split at once: as many as fit the cache, in equal
 * blocks, and whole images if the filters need a border. */
static int rows_at_once(const bird_split *of, int n_threads) {
    const int step = of->side == 1 ? 1 : of->oh;
    const int steps = of->n * of->oh / step;
    const int each = split_pixels(of, step) * of->ic * (int)sizeof(float);
    const int fitting = PANEL_BYTES / each * n_threads;
    const int most = fitting < 1 ? 1 : fitting > steps ? steps : fitting;
    return ceil_div(steps, ceil_div(steps, most)) * step;
}

bird_split bird_split_of(const bird_conv *conv, bool residual, bool relu, int n_threads) {
    bird_split of = {.n = conv->n, .ic = conv->ic, .oc = conv->oc, .ih = conv->ih, .iw = conv->iw,
                     .oh = bird_conv_out(conv, conv->ih), .ow = bird_conv_out(conv, conv->iw),
                     .side = conv->kernel, .stride = conv->stride, .relu = relu,
                     .residual = residual};
    of.rows = rows_at_once(&of, n_threads);
    of.by_pixels = of.side * of.side * of.ic * of.oc * (int)sizeof(float) <= FEW_WEIGHTS;
    return of;
}

size_t bird_split_scratch(const bird_split *of) {
    return split_lines(of) * (size_t)of->ic;
}

#if SPLIT_COMPILED

void bird_split_weights(float *to, const float *plain, int oc, int ic, int side, int n_threads) {
    const size_t each = (size_t)(SPLIT_SIDE * side * side) * (size_t)ic;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
    for (int i = 0; i < oc / SPLIT_SIDE; i++)
        split_filters((char *)(to + (size_t)i * each), plain + (size_t)i * each, ic, side);
}

void bird_split_forward(const bird_split *of, float *dst, const float *src, const float *weights,
                        const float *bias, float *scratch, int n_threads) {
    const split_data data = {.dst = dst, .src = src, .weights = weights, .bias = bias,
                             .panels = (char *)scratch};
    const int all = of->n * of->oh, groups = of->oc / SPLIT_BLOCK;

#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        split_state before;
        split_begin(&before);
        for (int first = 0; first < all; first += of->rows) {
            const int rows = all - first < of->rows ? all - first : of->rows;
            const int parts = split_parts(of, rows), blocks = split_blocks(of, rows);
#pragma omp for schedule(static)
            for (int i = 0; i < parts; i++) split_panels(of, &data, first, rows, i);
#pragma omp for schedule(static)
            for (int i = 0; i < groups * blocks; i++)
                if (of->by_pixels)
                    split_multiply(of, &data, first, rows, i / groups, i % groups);
                else
                    split_multiply(of, &data, first, rows, i % blocks, i / blocks);
        }
        split_end(&before);
    }
}

#else /* no convolution fits, so these are never called */

void bird_split_weights(float *to, const float *plain, int oc, int ic, int side, int n_threads) {
    (void)to, (void)plain, (void)oc, (void)ic, (void)side, (void)n_threads;
}

void bird_split_forward(const bird_split *of, float *dst, const float *src, const float *weights,
                        const float *bias, float *scratch, int n_threads) {
    (void)of, (void)dst, (void)src, (void)weights, (void)bias, (void)scratch, (void)n_threads;
}

#endif
