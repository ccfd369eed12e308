/* 3x3 convolutions with stride 1 and pad 1 by Winograd's F(4x4, 3x3), for inference: 36
 * multiplications for sixteen outputs instead of 144 (Lavin and Gray, 2015; nn/winograd.h has the
 * F(2x2) of the same paper).
 *
 * The input is cut into tiles of 6x6 that overlap by two. A few tiles at a time are transformed,
 * multiplied place by place with the transformed weights and transformed back, by one thread whose
 * scratch stays in its caches. Threads wait for each other only at the end. The transforms multiply
 * by up to 8, and the error is ten times that of F(2x2): 2e-6 of the output's root mean square.
 *
 * The arithmetic is written once (nn/winograd4_tile.h) for 4, 8 and 16 lanes;
 * nn/conv_winograd.h makes a step of a plan of it. Each sum runs over the channels in one order:
 * the same bits whatever the batch, the number of threads and the pieces of the work.
 */
#ifndef BIRD_NN_WINOGRAD4_H
#define BIRD_NN_WINOGRAD4_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/conv.h"

typedef struct bird_winograd4 bird_winograd4;

/* The arithmetic of one instruction set. */
typedef struct bird_winograd4_kernel {
    const char *isa;
    int lanes; /* floats of a vector; ic is a multiple of it */
    int panel; /* output channels of a product's inner loop; oc is a multiple of it */
    bool bf16; /* src and dst are bfloat16, else float32 */

    /* u (oc / panel, 36, ic, panel), transformed, from plain (oc, ic, 3, 3), on one thread. */
    void (*weights)(float *u, const float *plain, int oc, int ic);

    /* A block of tiles from tile `first` on and panels from `panel` on, as many as `of` says. */
    void (*run)(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                const float *bias, float *scratch, int first, int panel);
} bird_winograd4_kernel;

/* What is to be done, and in which pieces. */
struct bird_winograd4 {
    const bird_winograd4_kernel *kernel;
    int n, ic, oc, h, w;   /* src (n, ic, h, w), dst (n, oc, h, w) */
    int tiles_w, tiles_hw; /* tiles of a row and of an image */
    int group;             /* channels side by side in src and dst, as nChw8c has them; 0: all */
    int block, panels;     /* tiles and panels of output channels of one piece of the work */
    bool relu;
};

/* The best kernel, for tensors of bfloat16 or of float32, of those that the machine runs and oneDNN
 * is allowed; NULL where there is none. */
const bird_winograd4_kernel *bird_winograd4_best(bool bf16);

/* Kernels by number; NULL past the last. For tests of all of them. */
const bird_winograd4_kernel *bird_winograd4_at(int i);

/* Pieces are chosen for that many threads. */
bird_winograd4 bird_winograd4_of(const bird_winograd4_kernel *kernel, const bird_conv *conv,
                                 int group, bool relu, int n_threads);

/* Floats of scratch for that many threads. */
size_t bird_winograd4_scratch(const bird_winograd4 *of, int n_threads);

/* Floats of the transformed weights. */
size_t bird_winograd4_weights_size(int oc, int ic);

/* u, transformed, from plain (oc, ic, 3, 3). */
void bird_winograd4_weights(const bird_winograd4_kernel *kernel, float *u, const float *plain,
                            int oc, int ic, int n_threads);

/* dst = conv(src) + bias (oc), then an optional ReLU. `n_threads` as `scratch` was made for. */
void bird_winograd4_forward(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                            const float *bias, float *scratch, int n_threads);

/* One kernel per file; bird_winograd4_at leaves out those that the machine cannot run. */
extern const bird_winograd4_kernel bird_winograd4_portable;
#if defined(__x86_64__)
extern const bird_winograd4_kernel bird_winograd4_avx2;
extern const bird_winograd4_kernel bird_winograd4_avx512;
extern const bird_winograd4_kernel bird_winograd4_bf16;
#endif

#endif
