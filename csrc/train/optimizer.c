#include "train/optimizer.h"

#include <math.h>

#include "base/threads.h"

/* Floats per work item: small enough to split the largest tensor (2.4 million) evenly. */
enum { PIECE = 1 << 16 };

typedef struct update {
    const bird_optimizer *optimizer;
    bird_moments slabs;
    float lr, weight_decay;
    double correction1, correction2; /* 1 - beta^step */
    long step;
    size_t offset, count; /* of the tensor, in floats */
} update;

static void sgd(const update *todo, size_t begin, size_t end) {
    const bird_optimizer *how = todo->optimizer;
    float *p = todo->slabs.params, *first = todo->slabs.first;
    const float *grads = todo->slabs.grads;
    for (size_t i = begin; i < end; i++) {
        float g = grads[i] * how->grad_scale + todo->weight_decay * p[i];
        first[i] = todo->step == 1 ? g : how->momentum * first[i] + g;
        p[i] -= todo->lr * (how->nesterov ? g + how->momentum * first[i] : first[i]);
    }
}

static void adamw(const update *todo, size_t begin, size_t end) {
    const bird_optimizer *how = todo->optimizer;
    float *p = todo->slabs.params, *first = todo->slabs.first, *second = todo->slabs.second;
    const float *grads = todo->slabs.grads;
    const float keep = 1.0f - todo->lr * todo->weight_decay;
    const float rate = (float)((double)todo->lr / todo->correction1);
    const float root = (float)sqrt(todo->correction2);
    const float beta1 = how->beta1, beta2 = how->beta2, eps = how->eps, scale = how->grad_scale;
    for (size_t i = begin; i < end; i++) {
        float g = grads[i] * scale;
        first[i] += (1.0f - beta1) * (g - first[i]);
        second[i] = beta2 * second[i] + (1.0f - beta2) * g * g;
        p[i] = p[i] * keep - rate * (first[i] / (sqrtf(second[i]) / root + eps));
    }
}

static void update_piece(void *context, size_t item, int thread) {
    const update *todo = context;
    size_t begin = item * PIECE, end = begin + PIECE;
    (void)thread;
    if (end > todo->count) end = todo->count;
    begin += todo->offset;
    end += todo->offset;
    if (todo->optimizer->kind == BIRD_SGD)
        sgd(todo, begin, end);
    else
        adamw(todo, begin, end);
}

void bird_optimizer_step(const bird_optimizer *optimizer, bird_moments slabs,
                         const bird_params *params, const bool *trainable, const float *lr,
                         const float *weight_decay, long step, int n_threads) {
    update todo = {.optimizer = optimizer, .slabs = slabs, .step = step};
    todo.correction1 = 1.0 - pow((double)optimizer->beta1, (double)step);
    todo.correction2 = 1.0 - pow((double)optimizer->beta2, (double)step);
    for (int i = 0; i < params->n; i++) {
        const size_t pieces = (params->items[i].count + PIECE - 1) / PIECE;
        if (!trainable[i]) continue;
        todo.lr = lr[i];
        todo.weight_decay = weight_decay[i];
        todo.offset = params->items[i].offset;
        todo.count = params->items[i].count;
        /* Threads are not worthwhile for small tensors; without memory for threads, use one. */
        if (pieces < 4 || bird_parallel_for(pieces, n_threads, update_piece, &todo, NULL, NULL))
            for (size_t piece = 0; piece < pieces; piece++) update_piece(&todo, piece, 0);
    }
}

void bird_ema_step(float *average, const float *values, size_t count, float decay) {
    for (size_t i = 0; i < count; i++)
        average[i] += (1.0f - decay) * (values[i] - average[i]); /* exact if the value never
                                                                  * changes */
}
