/* ResNets with bottleneck blocks as data: the table of architectures, and the graph of one.
 *
 * He et al. 2015 with the stride in the 3x3 convolution (torchvision's resnet50), and He et
 * al. 2018's variant D (timm's resnet50d): three 3x3 convolutions as stem, average pooling
 * in the shortcuts. Another depth is another row.
 */
#ifndef BIRD_MODEL_RESNET_H
#define BIRD_MODEL_RESNET_H

#include <stdbool.h>

#include "model/params.h"

enum {
    BIRD_MAX_STEM = 3,
    BIRD_MAX_BLOCKS = 64,
    BIRD_MAX_CONVS = BIRD_MAX_STEM + 4 * BIRD_MAX_BLOCKS
};

typedef struct bird_resnet_spec {
    const char *name; /* as load_model knows it */
    int stages[4];    /* blocks a stage */
    bool deep_stem;   /* variant D's stem */
    bool pool_shortcut; /* variant D's shortcuts */
} bird_resnet_spec;

/* A convolution without bias and the batch norm behind it. */
typedef struct bird_conv_bn {
    int ic, oc, kernel, stride, pad;
    int weight; /* index of the parameter (oc, ic, k, k) */
    int bn;     /* index of bn weight; bias, mean and var follow */
} bird_conv_bn;

/* relu(bn(conv)) three times, the third after adding the shortcut. */
typedef struct bird_bottleneck {
    int convs[3];       /* indices into bird_resnet.convs */
    int shortcut;       /* index of its convolution; -1: the input itself */
    bool shortcut_pool; /* 2x2 average pooling with stride 2 before that convolution */
} bird_bottleneck;

typedef struct bird_resnet {
    const bird_resnet_spec *spec; /* borrowed: static */
    int num_classes;              /* 0: no head */
    int num_features;             /* 2048 */
    int n_stem, n_convs, n_blocks;
    int stem[BIRD_MAX_STEM]; /* indices into convs */
    bird_conv_bn convs[BIRD_MAX_CONVS];
    bird_bottleneck blocks[BIRD_MAX_BLOCKS];
    int head_weight, head_bias; /* parameter indices; -1 without a head */
    bird_params params;
} bird_resnet;

/* eps of every batch norm, as torchvision and timm have it. */
#define BIRD_BN_EPS 1e-5f

/* The row of that name, or NULL. */
const bird_resnet_spec *bird_resnet_find(const char *name);

/* The i-th row, NULL past the end. */
const bird_resnet_spec *bird_resnet_spec_at(int i);

/* Build the graph and the parameter table. The caller owns it. */
bird_status bird_resnet_create(bird_resnet **net, const bird_resnet_spec *spec, int num_classes,
                               bird_error *err);

void bird_resnet_destroy(bird_resnet *net); /* NULL is fine */

/* Side of the maps that convolution `index` puts out for square images of `size`, a multiple
 * of 32. */
int bird_resnet_conv_side(const bird_resnet *net, int index, int size);

#endif
