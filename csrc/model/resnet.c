#include "model/resnet.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static const bird_resnet_spec specs[] = {
    {"resnet18", BIRD_BASIC_BLOCK, {2, 2, 2, 2}, false},
    {"resnet18d", BIRD_BASIC_BLOCK, {2, 2, 2, 2}, true},
    {"resnet34", BIRD_BASIC_BLOCK, {3, 4, 6, 3}, false},
    {"resnet34d", BIRD_BASIC_BLOCK, {3, 4, 6, 3}, true},
    {"resnet50", BIRD_BOTTLENECK, {3, 4, 6, 3}, false},
    {"resnet50d", BIRD_BOTTLENECK, {3, 4, 6, 3}, true},
    {"resnet101", BIRD_BOTTLENECK, {3, 4, 23, 3}, false},
    {"resnet101d", BIRD_BOTTLENECK, {3, 4, 23, 3}, true},
    {"resnet152", BIRD_BOTTLENECK, {3, 8, 36, 3}, false},
    {"resnet152d", BIRD_BOTTLENECK, {3, 8, 36, 3}, true},
};

typedef struct block_shape {
    int n_convs;
    int kernels[BIRD_MAX_PATH];
    int strided;   /* which convolution has the stride of a stage's first block */
    int expansion; /* channels of the last convolution, in widths of the stage */
} block_shape;

static const block_shape shapes[] = {
    [BIRD_BOTTLENECK] = {3, {1, 3, 1}, 1, 4},
    [BIRD_BASIC_BLOCK] = {2, {3, 3}, 0, 1},
};

enum { STEM_WIDTH = 64, MAX_CLASSES = 1 << 20 };

const bird_resnet_spec *bird_resnet_find(const char *name) {
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (strcmp(specs[i].name, name) == 0) return &specs[i];
    return NULL;
}

const bird_resnet_spec *bird_resnet_spec_at(int i) {
    return i >= 0 && (size_t)i < sizeof specs / sizeof *specs ? &specs[i] : NULL;
}

int bird_resnet_n_ranges(const bird_resnet *net) {
    return net->n_convs + 1;
}

int bird_resnet_num_features(const bird_resnet_spec *spec) {
    return (STEM_WIDTH << 3) * shapes[spec->block].expansion;
}

static bird_status add_vector(bird_resnet *net, int *index, bird_param_kind kind, int size,
                              const char *prefix, const char *name, bird_error *err) {
    const size_t dims[4] = {(size_t)size, 0, 0, 0};
    return bird_params_add(&net->params, index, kind, dims, err, "%s.%s", prefix, name);
}

/* Add a convolution and its batch norm, with their five parameters in state_dict order. */
static bird_status add_conv_bn(bird_resnet *net, int *index, int ic, int oc, int kernel,
                               int stride, const char *conv_name, const char *bn_name,
                               bird_error *err) {
    bird_status status = BIRD_OK;
    bird_conv_bn *conv = &net->convs[net->n_convs];
    const size_t dims[4] = {(size_t)oc, (size_t)ic, (size_t)kernel, (size_t)kernel};
    int ignored;

    *conv = (bird_conv_bn){.ic = ic, .oc = oc, .kernel = kernel, .stride = stride,
                           .pad = kernel / 2};
    BIRD_TRY(bird_params_add(&net->params, &conv->weight, BIRD_CONV_WEIGHT, dims, err,
                             "%s.weight", conv_name));
    BIRD_TRY(add_vector(net, &conv->bn, BIRD_BN_WEIGHT, oc, bn_name, "weight", err));
    BIRD_TRY(add_vector(net, &ignored, BIRD_BN_BIAS, oc, bn_name, "bias", err));
    BIRD_TRY(add_vector(net, &ignored, BIRD_BN_MEAN, oc, bn_name, "running_mean", err));
    BIRD_TRY(add_vector(net, &ignored, BIRD_BN_VAR, oc, bn_name, "running_var", err));
    *index = net->n_convs++;
cleanup:
    return status;
}

static bird_status add_stem(bird_resnet *net, bird_error *err) {
    const int half = STEM_WIDTH / 2;
    bird_status status = BIRD_OK;
    if (net->spec->variant_d) {
        net->n_stem = 3;
        BIRD_TRY(add_conv_bn(net, &net->stem[0], 3, half, 3, 2, "conv1.0", "conv1.1", err));
        BIRD_TRY(add_conv_bn(net, &net->stem[1], half, half, 3, 1, "conv1.3", "conv1.4", err));
        BIRD_TRY(add_conv_bn(net, &net->stem[2], half, STEM_WIDTH, 3, 1, "conv1.6", "bn1", err));
    } else {
        net->n_stem = 1;
        BIRD_TRY(add_conv_bn(net, &net->stem[0], 3, STEM_WIDTH, 7, 2, "conv1", "bn1", err));
    }
cleanup:
    return status;
}

/* Add block `number` of `stage` (both from 0). *channels is the number of input channels, and
 * becomes that of the output. */
static bird_status add_block(bird_resnet *net, int *channels, int stage, int number,
                             bird_error *err) {
    bird_status status = BIRD_OK;
    bird_block *block = &net->blocks[net->n_blocks];
    const block_shape *shape = &shapes[net->spec->block];
    const int width = STEM_WIDTH << stage, ic = *channels, oc = width * shape->expansion;
    const int stride = stage > 0 && number == 0 ? 2 : 1;
    char conv_name[BIRD_NAME_SIZE], bn_name[BIRD_NAME_SIZE];

    block->n_convs = shape->n_convs;
    for (int i = 0; i < shape->n_convs; i++) {
        snprintf(conv_name, sizeof conv_name, "layer%d.%d.conv%d", stage + 1, number, i + 1);
        snprintf(bn_name, sizeof bn_name, "layer%d.%d.bn%d", stage + 1, number, i + 1);
        BIRD_TRY(add_conv_bn(net, &block->convs[i], i == 0 ? ic : width,
                             i == shape->n_convs - 1 ? oc : width, shape->kernels[i],
                             i == shape->strided ? stride : 1, conv_name, bn_name, err));
    }
    block->shortcut = -1;
    if (stride != 1 || ic != oc) {
        /* In variant D, timm counts the pooling (a no-op at stride 1): its numbers are one
         * higher. */
        int first = net->spec->variant_d ? 1 : 0;
        block->shortcut_pool = net->spec->variant_d && stride == 2;
        snprintf(conv_name, sizeof conv_name, "layer%d.%d.downsample.%d", stage + 1, number,
                 first);
        snprintf(bn_name, sizeof bn_name, "layer%d.%d.downsample.%d", stage + 1, number,
                 first + 1);
        BIRD_TRY(add_conv_bn(net, &block->shortcut, ic, oc, 1, block->shortcut_pool ? 1 : stride,
                             conv_name, bn_name, err));
    }
    net->n_blocks++;
    *channels = oc;
cleanup:
    return status;
}

static bird_status add_head(bird_resnet *net, bird_error *err) {
    bird_status status = BIRD_OK;
    net->head_weight = net->head_bias = -1;
    if (net->num_classes > 0) {
        const size_t weight[4] = {(size_t)net->num_classes, (size_t)net->num_features, 0, 0};
        const size_t bias[4] = {(size_t)net->num_classes, 0, 0, 0};
        BIRD_TRY(bird_params_add(&net->params, &net->head_weight, BIRD_LINEAR_WEIGHT, weight, err,
                                 "fc.weight"));
        BIRD_TRY(bird_params_add(&net->params, &net->head_bias, BIRD_LINEAR_BIAS, bias, err,
                                 "fc.bias"));
    }
cleanup:
    return status;
}

bird_status bird_resnet_create(bird_resnet **net, const bird_resnet_spec *spec, int num_classes,
                               bird_error *err) {
    bird_status status = BIRD_OK;
    bird_resnet *made = NULL;
    int channels = STEM_WIDTH;

    *net = NULL;
    if (num_classes < 0 || num_classes > MAX_CLASSES)
        BIRD_FAIL(BIRD_ARG, "num_classes must be 0 to %d, got %d", MAX_CLASSES, num_classes);
    made = bird_calloc(1, sizeof *made);
    if (!made) BIRD_FAIL(BIRD_NOMEM, "out of memory for a network");
    bird_params_init(&made->params);
    made->spec = spec;
    made->num_classes = num_classes;
    BIRD_TRY(add_stem(made, err));
    for (int stage = 0; stage < 4; stage++)
        for (int number = 0; number < spec->stages[stage]; number++)
            BIRD_TRY(add_block(made, &channels, stage, number, err));
    made->num_features = bird_resnet_num_features(spec);
    BIRD_TRY(add_head(made, err));
    *net = made;
    made = NULL;
cleanup:
    bird_resnet_destroy(made);
    return status;
}

void bird_resnet_destroy(bird_resnet *net) {
    if (!net) return;
    bird_params_deinit(&net->params);
    bird_free(net);
}

int bird_resnet_conv_side(const bird_resnet *net, int index, int size) {
    int side = size / 4; /* the input of the first block */
    if (index < net->n_stem) return size / 2;
    for (int b = 0; b < net->n_blocks; b++) {
        const bird_block *block = &net->blocks[b];
        for (int i = 0; i < block->n_convs; i++) {
            side /= net->convs[block->convs[i]].stride;
            if (index == block->convs[i]) return side;
        }
        if (index == block->shortcut) return side;
    }
    return side;
}
