/* 3x3 convolutions with stride 1 and pad 1 by Winograd's F(4x4, 3x3), for inference: 36
 * multiplications for sixteen outputs instead of 144 (Lavin and Gray, 2015; nn/winograd.h has the
 * F(2x2) of the same paper).
 *
 * The input is cut into tiles of 6x6 that overlap by two. One thread transforms a few tiles at a
 * time, multiplies them elementwise with the transformed weights and transforms them back; its
 * scratch stays in its caches. Threads wait for each other only at the end. The transforms multiply
 * by up to 8, so the error is ten times that of F(2x2): 2e-6 of the root mean square of the output.
 *
 * The arithmetic is written once (nn/winograd4_tile.h) for 4, 8 and 16 lanes; nn/conv_winograd.h
 * makes a plan step of it. Each sum adds the channels in the same order, so the bits do not depend
 * on the batch, the number of threads or the way the work is divided.
 */
#ifndef BIRD_NN_WINOGRAD4_H
#define BIRD_NN_WINOGRAD4_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/conv.h"

typedef struct bird_winograd4 bird_winograd4;

/* The functions for one instruction set. */
typedef struct bird_winograd4_kernel {
    const char *isa;
    int lanes; /* floats per vector; ic is a multiple of it */
    int panel; /* output channels in the inner loop of a product; oc is a multiple of it */
    bool bf16; /* src and dst are bfloat16, otherwise float32 */

    /* On one thread, write transformed weights u (oc / panel, 36, ic, panel) from plain (oc, ic, 3,
     * 3). */
    void (*weights)(float *u, const float *plain, int oc, int ic);

    /* Compute one piece: of->block tiles from `first` on, of->panels panels from `panel` on. */
    void (*run)(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                const float *bias, float *scratch, int first, int panel);
} bird_winograd4_kernel;

/* A convolution, and how its work is divided. */
struct bird_winograd4 {
    const bird_winograd4_kernel *kernel;
    int n, ic, oc, h, w;   /* src (n, ic, h, w), dst (n, oc, h, w) */
    int tiles_w, tiles_hw; /* tiles per row and per image */
    int group;             /* channels side by side in src and dst, e.g. 8 in nChw8c; 0: all */
    int block, panels;     /* tiles and panels of output channels per piece of work */
    bool relu;
};

/* Return the best kernel for tensors of bfloat16 or of float32, among those that the machine can
 * run and that oneDNN's instruction set limit allows; NULL if there is none. */
const bird_winograd4_kernel *bird_winograd4_best(bool bf16);

/* Return kernel number i, or NULL past the last one, so that tests can run all of them. */
const bird_winograd4_kernel *bird_winograd4_at(int i);

/* Describe a convolution, with the pieces chosen for `n_threads` threads. */
bird_winograd4 bird_winograd4_of(const bird_winograd4_kernel *kernel, const bird_conv *conv,
                                 int group, bool relu, int n_threads);

/* Return how many floats of scratch `n_threads` threads need. */
size_t bird_winograd4_scratch(const bird_winograd4 *of, int n_threads);

/* Return the number of floats of the transformed weights. */
size_t bird_winograd4_weights_size(int oc, int ic);

/* Write the transformed weights u from plain (oc, ic, 3, 3). */
void bird_winograd4_weights(const bird_winograd4_kernel *kernel, float *u, const float *plain,
                            int oc, int ic, int n_threads);

/* Compute dst = conv(src) + bias (oc), then an optional ReLU. `scratch` must be large enough for
 * `n_threads`. */
void bird_winograd4_forward(const bird_winograd4 *of, void *dst, const void *src, const float *u,
                            const float *bias, float *scratch, int n_threads);

/* One kernel per file. bird_winograd4_at leaves out those that the machine cannot run. */
extern const bird_winograd4_kernel bird_winograd4_portable;
#if defined(__x86_64__)
extern const bird_winograd4_kernel bird_winograd4_avx2;
extern const bird_winograd4_kernel bird_winograd4_avx512;
extern const bird_winograd4_kernel bird_winograd4_bf16;
#endif

#endif
