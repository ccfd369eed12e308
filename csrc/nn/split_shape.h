/* What nn/split.c and nn/split_amx.c share: the layout of the panels, and the functions of the
 * kernel. */
#ifndef BIRD_NN_SPLIT_SHAPE_H
#define BIRD_NN_SPLIT_SHAPE_H

#include "nn/split.h"

/* Older compilers do not know the instructions. */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define SPLIT_COMPILED 1
#else
#define SPLIT_COMPILED 0
#endif

enum {
    SPLIT_DEPTH = 32,                     /* channels of a line; ic is a multiple of it */
    SPLIT_LINE = 64,                      /* bytes of a line: 32 halves, the row of a tile */
    SPLIT_SIDE = 16,                      /* rows of a tile */
    SPLIT_TILE = SPLIT_SIDE * SPLIT_LINE, /* bytes of a tile */
    SPLIT_BLOCK = 2 * SPLIT_SIDE,         /* pixels and filters whose sums are computed at once */
    SPLIT_PART = 256                      /* pixels that a thread splits at a time */
};

/* Pixels from one output row to the next in a panel. */
static inline int split_width(const bird_split *of) {
    return of->side == 1 ? of->ow : of->iw + 2;
}

/* Pixels of an image with its border in a panel. */
static inline int split_area(const bird_split *of) {
    return of->side == 1 ? of->oh * of->ow : (of->ih + 2) * split_width(of);
}

/* Pixels that the panels hold for some rows. With 3x3 filters, these are the rows of whole
 * images. */
static inline int split_pixels(const bird_split *of, int rows) {
    return of->side == 1 ? rows * of->ow : rows / of->oh * split_area(of);
}

/* Lines of a panel. The tiles at the end read beyond the last pixel. */
static inline size_t split_lines(const bird_split *of) {
    const int beyond = of->side == 1 ? 0 : 2 * split_width(of) + 2;
    return (size_t)(split_pixels(of, of->rows) + beyond + SPLIT_BLOCK);
}

/* Parts of the panels that threads can write at the same time. */
static inline int split_parts(const bird_split *of, int rows) {
    return (split_pixels(of, rows) + SPLIT_PART - 1) / SPLIT_PART;
}

/* Pixels that are divided into blocks together: those of the rows or, with 3x3 filters, of an
 * image, with the border between its rows. */
static inline int split_span(const bird_split *of, int rows) {
    return of->side == 1 ? rows * of->ow : of->oh * split_width(of) - 2;
}

static inline int split_blocks_each(const bird_split *of, int rows) {
    return (split_span(of, rows) + SPLIT_BLOCK - 1) / SPLIT_BLOCK;
}

/* Blocks of pixels of some rows. */
static inline int split_blocks(const bird_split *of, int rows) {
    return split_blocks_each(of, rows) * (of->side == 1 ? 1 : rows / of->oh);
}

#if SPLIT_COMPILED

/* The tile configuration that a thread had before. oneDNN keeps one per thread and does not set it
 * again as long as it needs the same. */
typedef struct split_state {
    _Alignas(64) unsigned char config[64];
} split_state;

/* The arrays of a step. */
typedef struct split_data {
    float *dst;
    const float *src, *weights, *bias;
    char *panels;
} split_data;

/* Configure the tiles of this thread, and restore its configuration. */
void split_begin(split_state *before);
void split_end(const split_state *before);

/* Write part `part` of the panels for `rows` rows of output pixels from `first` on, counted over
 * all images. */
void split_panels(const bird_split *of, const split_data *data, int first, int rows, int part);

/* Compute block `block` (32 pixels) of these rows for 32 filters. */
void split_multiply(const bird_split *of, const split_data *data, int first, int rows, int block,
                    int filters);

/* Split the weights of 16 filters. */
void split_filters(char *to, const float *plain, int ic, int side);

#endif

#endif
