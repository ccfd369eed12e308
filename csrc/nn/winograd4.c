#include "nn/winograd4.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "nn/isa.h"
#include "nn/winograd4_shape.h"

const bird_winograd4_kernel *bird_winograd4_at(int i) {
    const bird_winograd4_kernel *usable[4];
    int n = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw"))
        usable[n++] = &bird_winograd4_bf16;
    if (__builtin_cpu_supports("avx512f")) usable[n++] = &bird_winograd4_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        usable[n++] = &bird_winograd4_avx2;
#endif
    usable[n++] = &bird_winograd4_portable;
    return i >= 0 && i < n ? usable[i] : NULL;
}

const bird_winograd4_kernel *bird_winograd4_best(bool bf16) {
#if defined(__x86_64__)
    if (bf16) return bird_isa_has_bf16() ? &bird_winograd4_bf16 : NULL;
#else
    if (bf16) return NULL;
#endif
    switch (bird_isa_get()) {
#if defined(__x86_64__)
        case BIRD_ISA_AVX512:
            return &bird_winograd4_avx512;
        case BIRD_ISA_AVX2:
            return &bird_winograd4_avx2;
#endif
        default:
            return &bird_winograd4_portable;
    }
}

static int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

static int n_panels(const bird_winograd4 *of) {
    return of->oc / of->kernel->panel;
}

/* Estimate how long a piece takes, in vector multiplications. A product of few tiles waits for its
 * own sums, so the count is at least 4 tiles. Loading the weights from distant caches or memory
 * costs as much as three more tiles. */
static double cost(const bird_winograd4 *of, int block, int panels) {
    const double in = of->ic / of->kernel->lanes, out = panels * of->kernel->panel /
                      of->kernel->lanes;
    const double products = out * of->ic * WINOGRAD4_PLACES;
    return block * (220 * in + 160 * out) + products * ((block < 4 ? 4 : block) + 3);
}

static int pieces(const bird_winograd4 *of, int block, int panels) {
    return ceil_div(of->n * of->tiles_hw, block) * ceil_div(n_panels(of), panels);
}

/* Choose the pieces that finish soonest on `n_threads` threads. */
static void cut(bird_winograd4 *of, int n_threads) {
    double least = 0;
    for (int panels = n_panels(of); panels > 0; panels--)
        for (int block = WINOGRAD4_BLOCK; block > 0; block--) {
            const int rounds = ceil_div(pieces(of, block, panels), n_threads);
            const double takes = rounds * cost(of, block, panels);
            if (least > 0 && takes >= least) continue;
            least = takes;
            of->block = block;
            of->panels = panels;
        }
}

bird_winograd4 bird_winograd4_of(const bird_winograd4_kernel *kernel, const bird_conv *conv,
                                 int group, bool relu, int n_threads) {
    const int tiles_h = ceil_div(conv->ih, WINOGRAD4_STEP);
    const int tiles_w = ceil_div(conv->iw, WINOGRAD4_STEP);
    bird_winograd4 of = {.kernel = kernel, .n = conv->n, .ic = conv->ic, .oc = conv->oc,
                         .h = conv->ih, .w = conv->iw, .tiles_w = tiles_w,
                         .tiles_hw = tiles_h * tiles_w, .group = group, .relu = relu};
    cut(&of, n_threads);
    return of;
}

/* Floats of scratch for one piece. */
static size_t scratch_of_one(const bird_winograd4 *of) {
    return WINOGRAD4_PLACES * (winograd4_stride(of, of->ic) +
                               winograd4_stride(of, of->kernel->panel));
}

size_t bird_winograd4_scratch(const bird_winograd4 *of, int n_threads) {
    const int at_once = pieces(of, of->block, of->panels);
    return scratch_of_one(of) * (size_t)(at_once < n_threads ? at_once : n_threads);
}

size_t bird_winograd4_weights_size(int oc, int ic) {
    return WINOGRAD4_PLACES * (size_t)oc * (size_t)ic;
}

void bird_winograd4_weights(const bird_winograd4_kernel *kernel, float *u, const float *plain,
                            int oc, int ic, int n_threads) {
    const size_t filters = (size_t)kernel->panel * (size_t)ic; /* per panel */

#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
    for (int i = 0; i < oc / kernel->panel; i++)
        kernel->weights(u + (size_t)i * filters * WINOGRAD4_PLACES,
                        plain + (size_t)i * filters * 9, kernel->panel, ic);
}

static size_t this_thread(void) {
#ifdef _OPENMP
    return (size_t)omp_get_thread_num();
#else
    return 0;
#endif
}

void bird_winograd4_forward(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                            const float *bias, float *scratch, int n_threads) {
    const int slices = ceil_div(n_panels(of), of->panels);
    const int n = pieces(of, of->block, of->panels), at_once = n < n_threads ? n : n_threads;

#pragma omp parallel for num_threads(at_once) if (at_once > 1) schedule(static)
    for (int i = 0; i < n; i++)
        of->kernel->run(of, dst, src, u, bias, scratch + this_thread() * scratch_of_one(of),
                        i / slices * of->block, i % slices * of->panels);
}
