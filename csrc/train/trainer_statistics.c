/* The running statistics of a network in training.
 *
 * Each forward pass writes the mean and variance of the batch to the stats slab. `pending` has the
 * next running statistics: a backward pass updates it (or apply, after a forward pass without a
 * backward pass), starting from the parameters or, if gradients accumulate, from its last value;
 * apply copies it to the parameters.
 */
#include <string.h>

#include "train/trainer_internal.h"

void bird_trainer_move_statistics(bird_trainer *trainer) {
    const bird_resnet *net = trainer->net;
    const float *params = trainer->slabs[BIRD_SLAB_PARAMS];
    const float m = trainer->bn_momentum;

    for (int c = 0; c < net->n_convs; c++) {
        const bird_conv_bn *unit = &net->convs[c];
        const bird_param *mean = &net->params.items[unit->bn + 2];
        const bird_param *var = &net->params.items[unit->bn + 3];
        const float *old = trainer->has_pending ? trainer->pending : params;
        const int side = bird_resnet_conv_side(net, c, trainer->size);
        const double pixels = (double)trainer->n * side * side;
        const float unbiased = (float)(pixels / (pixels - 1.0));
        if (!bird_training_moves_statistics(unit, trainer->trainable)) {
            memcpy(trainer->pending + mean->offset, params + mean->offset,
                   mean->count * sizeof *params);
            memcpy(trainer->pending + var->offset, params + var->offset,
                   var->count * sizeof *params);
            continue;
        }
        for (size_t i = 0; i < mean->count; i++) {
            size_t at_mean = mean->offset + i, at_var = var->offset + i;
            trainer->pending[at_mean] =
                (1.0f - m) * old[at_mean] + m * trainer->stats[at_mean];
            trainer->pending[at_var] =
                (1.0f - m) * old[at_var] + m * unbiased * trainer->stats[at_var];
        }
    }
    trainer->has_pending = true;
}

void bird_trainer_commit_statistics(bird_trainer *trainer) {
    const bird_params *params = &trainer->net->params;
    if (!trainer->has_pending) return;
    for (int i = 0; i < params->n; i++) {
        const bird_param *param = &params->items[i];
        if (param->kind == BIRD_BN_MEAN || param->kind == BIRD_BN_VAR)
            memcpy(trainer->slabs[BIRD_SLAB_PARAMS] + param->offset,
                   trainer->pending + param->offset, param->count * sizeof(float));
    }
    trainer->has_pending = false;
}
