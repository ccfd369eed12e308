/* ResNets as data: the table of architectures, and the graph of one of them.
 *
 * He et al. 2015 with the stride in the bottleneck's 3x3 convolution (torchvision's resnet18 to
 * resnet152), and variant D of He et al. 2018 (timm's resnet18d to resnet152d), which has three 3x3
 * convolutions as stem and average pooling in the shortcuts. Another depth needs only another row.
 */
#ifndef BIRD_MODEL_RESNET_H
#define BIRD_MODEL_RESNET_H

#include <stdbool.h>

#include "model/params.h"

enum {
    BIRD_MAX_STEM = 3,
    BIRD_MAX_BLOCKS = 64,
    BIRD_MAX_PATH = 3, /* convolutions per block, without that of its shortcut */
    BIRD_MAX_CONVS = BIRD_MAX_STEM + (BIRD_MAX_PATH + 1) * BIRD_MAX_BLOCKS
};

typedef enum bird_block_kind {
    BIRD_BOTTLENECK, /* 1x1, 3x3 and 1x1 to four times the width */
    BIRD_BASIC_BLOCK /* two 3x3 convolutions */
} bird_block_kind;

typedef struct bird_resnet_spec {
    const char *name; /* the name in load_model */
    bird_block_kind block;
    int stages[4];  /* blocks per stage */
    bool variant_d; /* stem and shortcuts of variant D */
} bird_resnet_spec;

/* A convolution without bias, and the batch norm that follows it. */
typedef struct bird_conv_bn {
    int ic, oc, kernel, stride, pad;
    int weight; /* index of the parameter (oc, ic, k, k) */
    int bn;     /* index of bn weight; bias, mean and var follow */
} bird_conv_bn;

/* relu(bn(conv)) two or three times; the shortcut is added before the last ReLU. */
typedef struct bird_block {
    int n_convs;
    int convs[BIRD_MAX_PATH]; /* indices into bird_resnet.convs */
    int shortcut;             /* index of its convolution; -1: the input itself */
    bool shortcut_pool; /* 2x2 average pooling with stride 2 before that convolution */
} bird_block;

typedef struct bird_resnet {
    const bird_resnet_spec *spec; /* borrowed: static */
    int num_classes;              /* 0: no head */
    int num_features;             /* 512 with basic blocks, 2048 with bottlenecks */
    int n_stem, n_convs, n_blocks;
    int stem[BIRD_MAX_STEM]; /* indices into convs */
    bird_conv_bn convs[BIRD_MAX_CONVS];
    bird_block blocks[BIRD_MAX_BLOCKS];
    int head_weight, head_bias; /* parameter indices; -1 without a head */
    bird_params params;
} bird_resnet;

/* eps of every batch norm, as in torchvision and timm. */
#define BIRD_BN_EPS 1e-5f

/* Return the row with that name, or NULL. */
const bird_resnet_spec *bird_resnet_find(const char *name);

/* Return the i-th row, or NULL past the end. */
const bird_resnet_spec *bird_resnet_spec_at(int i);

/* Return how many ranges int8 needs: one per convolution output, and a last one for the images. */
int bird_resnet_n_ranges(const bird_resnet *net);

/* Return the number of channels of the last feature map. */
int bird_resnet_num_features(const bird_resnet_spec *spec);

/* Build the graph and the parameter table. The caller owns it. */
bird_status bird_resnet_create(bird_resnet **net, const bird_resnet_spec *spec, int num_classes,
                               bird_error *err);

void bird_resnet_destroy(bird_resnet *net); /* NULL is fine */

/* Return the side of the output of convolution `index` for square images of side `size`, a multiple
 * of 32. */
int bird_resnet_conv_side(const bird_resnet *net, int index, int size);

#endif
