/* The data of a trainer: slabs, trainable flags, and its size. The parts of a step are in
 * trainer_step.c. */
#include "base/alloc.h"
#include "train/trainer_internal.h"

bird_status bird_trainer_create(bird_trainer **trainer, const bird_resnet_spec *spec,
                                int num_classes, bird_error *err) {
    bird_status status = BIRD_OK;
    bird_trainer *made = bird_calloc(1, sizeof *made);
    float *ignored;

    *trainer = NULL;
    if (!made) BIRD_FAIL(BIRD_NOMEM, "out of memory for a trainer");
    BIRD_TRY(bird_resnet_create(&made->net, spec, num_classes, err));
    made->count = made->net->params.slab_count;
    BIRD_TRY(bird_trainer_need_slab(made, &ignored, BIRD_SLAB_PARAMS, err));
    BIRD_TRY(bird_trainer_need_slab(made, &ignored, BIRD_SLAB_GRADS, err));
    /* Not cleared: only the positions of the statistics are used in these two, and unused pages
     * take no memory. */
    made->stats = bird_alloc(made->count * sizeof *made->stats);
    made->pending = bird_alloc(made->count * sizeof *made->pending);
    made->trainable = bird_calloc((size_t)made->net->params.n, sizeof *made->trainable);
    if (!made->stats || !made->pending || !made->trainable)
        BIRD_FAIL(BIRD_NOMEM, "out of memory for a trainer");
    *trainer = made;
    made = NULL;
cleanup:
    bird_trainer_destroy(made);
    return status;
}

static void drop_plans(bird_trainer *trainer) {
    for (int i = 0; i < trainer->n_plans; i++) bird_training_plan_destroy(trainer->plans[i]);
    trainer->n_plans = 0;
    trainer->current = NULL;
}

void bird_trainer_destroy(bird_trainer *trainer) {
    if (!trainer) return;
    drop_plans(trainer);
    for (int i = 0; i < N_SLABS; i++) bird_free(trainer->slabs[i]);
    bird_free(trainer->stats);
    bird_free(trainer->pending);
    bird_free(trainer->sum);
    bird_free(trainer->trainable);
    bird_free(trainer->features);
    bird_free(trainer->diff_features);
    bird_free(trainer->diff_logits);
    bird_resnet_destroy(trainer->net);
    bird_free(trainer);
}

const bird_resnet *bird_trainer_net(const bird_trainer *trainer) {
    return trainer->net;
}

float *bird_trainer_slab(const bird_trainer *trainer, bird_slab which) {
    return trainer->slabs[which];
}

bird_status bird_trainer_need_slab(bird_trainer *trainer, float **slab, bird_slab which,
                                   bird_error *err) {
    if (!trainer->slabs[which])
        trainer->slabs[which] = bird_calloc(trainer->count, sizeof *trainer->slabs[which]);
    *slab = trainer->slabs[which];
    return *slab ? BIRD_OK : bird_fail(err, BIRD_NOMEM, "out of memory for a trainer");
}

void bird_trainer_drop_slab(bird_trainer *trainer, bird_slab which) {
    bird_free(trainer->slabs[which]);
    trainer->slabs[which] = NULL;
}

void bird_trainer_configure(bird_trainer *trainer, bird_bn_mode bn, const bool *trainable,
                            float bn_momentum, bird_precision precision) {
    drop_plans(trainer);
    trainer->bn = bn;
    trainer->bn_momentum = bn_momentum;
    trainer->precision = precision;
    for (int i = 0; i < trainer->net->params.n; i++) {
        bird_param_kind kind = trainer->net->params.items[i].kind;
        bool is_bn = kind == BIRD_BN_WEIGHT || kind == BIRD_BN_BIAS;
        bool is_stat = kind == BIRD_BN_MEAN || kind == BIRD_BN_VAR;
        trainer->trainable[i] = trainable[i] && !is_stat && !(is_bn && bn == BIRD_BN_FROZEN);
    }
}

const bool *bird_trainer_trainable(const bird_trainer *trainer) {
    return trainer->trainable;
}

int bird_trainer_batch(const bird_trainer *trainer) {
    return trainer->n;
}

long bird_trainer_steps(const bird_trainer *trainer) {
    return trainer->steps;
}

void bird_trainer_set_steps(bird_trainer *trainer, long steps) {
    trainer->steps = steps;
}

size_t bird_trainer_size(const bird_trainer *trainer) {
    size_t size = 0;
    for (int i = 0; i < N_SLABS; i++)
        if (trainer->slabs[i]) size += trainer->count * sizeof(float);
    if (trainer->sum) size += trainer->count * sizeof(float);
    for (int i = 0; i < trainer->n_plans; i++) size += bird_training_plan_size(trainer->plans[i]);
    return size;
}
