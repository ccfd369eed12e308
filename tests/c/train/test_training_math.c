/* The parts of a training step that are plain loops: classifier, loss, optimizers, norm,
 * average. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "model/linear.h"
#include "model/loss.h"
#include "train/optimizer.h"
#include "train/reductions.h"

static unsigned random_state = 1;

static float *numbers(size_t n, bool whole) {
    float *values = bird_alloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        values[i] = whole ? (float)((int)(random_state >> 24) % 9 - 4)
                          : (float)(random_state >> 8) / (float)(1 << 23) - 1.0f;
    }
    return values;
}

/* Integers, so that sums are exact. */
static void linear(void) {
    const size_t ics[] = {1, 2, 15, 16, 17, 100};
    for (size_t i = 0; i < sizeof ics / sizeof *ics; i++) {
        const size_t n = 5, ic = ics[i], oc = 7;
        float *src = numbers(n * ic, true), *w = numbers(oc * ic, true);
        float *diff = numbers(n * oc, true);
        float *diff_src = numbers(n * ic, true), *diff_w = numbers(oc * ic, true), diff_bias[7];
        bird_linear_backward(diff_src, diff_w, diff_bias, diff, src, w, n, ic, oc);
        for (size_t k = 0; k < ic; k++) {
            for (size_t r = 0; r < n; r++) {
                float sum = 0;
                for (size_t o = 0; o < oc; o++) sum += diff[r * oc + o] * w[o * ic + k];
                CHECK(diff_src[r * ic + k] == sum);
            }
            for (size_t o = 0; o < oc; o++) {
                float sum = 0;
                for (size_t r = 0; r < n; r++) sum += diff[r * oc + o] * src[r * ic + k];
                CHECK(diff_w[o * ic + k] == sum);
            }
        }
        for (size_t o = 0; o < oc; o++) {
            float sum = 0;
            for (size_t r = 0; r < n; r++) sum += diff[r * oc + o];
            CHECK(diff_bias[o] == sum);
        }
        void *all[] = {src, w, diff, diff_src, diff_w};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) bird_free(all[j]);
    }
}

/* --- loss ---------------------------------------------------------------------------- */

enum { ROWS = 6, CLASSES = 5 };

/* The definition, without protection against large numbers. */
static double loss_of(const double *logits, const float *targets, const float *weights) {
    double loss = 0, total = 0;
    for (int r = 0; r < ROWS; r++) {
        const double w = weights ? (double)weights[r] : 1.0;
        double sum = 0;
        for (int c = 0; c < CLASSES; c++) sum += exp(logits[r * CLASSES + c]);
        for (int c = 0; c < CLASSES; c++)
            loss -= w * (double)targets[r * CLASSES + c] * log(exp(logits[r * CLASSES + c]) / sum);
        total += w;
    }
    return loss / total;
}

static void check_loss(const float *targets, const float *weights) {
    float *logits = numbers((size_t)ROWS * CLASSES, false), diff[ROWS * CLASSES];
    double wide[ROWS * CLASSES];
    const double h = 1e-5, loss = bird_cross_entropy(diff, logits, targets, weights, ROWS, CLASSES);
    for (int i = 0; i < ROWS * CLASSES; i++) wide[i] = (double)logits[i];
    CHECK(fabs(loss - loss_of(wide, targets, weights)) < 1e-12);
    for (int i = 0; i < ROWS * CLASSES; i++) {
        wide[i] = (double)logits[i] + h;
        const double above = loss_of(wide, targets, weights);
        wide[i] = (double)logits[i] - h;
        const double below = loss_of(wide, targets, weights);
        wide[i] = (double)logits[i];
        CHECK(fabs((double)diff[i] - (above - below) / (2 * h)) < 1e-7);
    }
    bird_free(logits);
}

static void losses(void) {
    float hard[ROWS * CLASSES] = {0}, smooth[ROWS * CLASSES];
    const float weights[ROWS] = {1, 0.5f, 0, 2, 1, 3}, one[CLASSES] = {0, 1, 0, 0, 0};
    float *soft = numbers((size_t)ROWS * CLASSES, false), diff[CLASSES];
    for (int r = 0; r < ROWS; r++) hard[r * CLASSES + (r * 3) % CLASSES] = 1;
    for (int i = 0; i < ROWS * CLASSES; i++) {
        smooth[i] = 0.9f * hard[i] + 0.1f / CLASSES;
        soft[i] = fabsf(soft[i]); /* rows that do not add up to 1, as with class weights */
    }
    check_loss(hard, NULL);
    check_loss(hard, weights);
    check_loss(smooth, NULL);
    check_loss(soft, weights);
    bird_free(soft);

    const float huge[CLASSES] = {1e30f, -1e30f, 3e38f, 0, -3e38f};
    CHECK(isfinite(bird_cross_entropy(diff, huge, one, NULL, 1, CLASSES)));
    for (int c = 0; c < CLASSES; c++) CHECK(diff[c] == (c == 2 ? 1 : c == 1 ? -1 : 0));
    const float right[CLASSES] = {-200, 200, -200, -200, -200};
    CHECK(bird_cross_entropy(diff, right, one, NULL, 1, CLASSES) == 0);
    const float broken[CLASSES] = {0, NAN, 1, 2, 3};
    CHECK(isnan(bird_cross_entropy(diff, broken, one, NULL, 1, CLASSES)));
}

/* --- optimizers ---------------------------------------------------------------------- */

enum { TENSORS = 4, STEPS = 10 };

/* Sizes around the pieces that threads share. The second tensor is frozen. */
static const size_t sizes[TENSORS] = {5, 70, 4 * 65536 + 3, 65536 * 5};
static const bool trainable[TENSORS] = {true, false, true, true};
static const float lr[TENSORS] = {0.1f, 0.1f, 0.01f, 1e-3f};
static const float decay[TENSORS] = {0, 0.1f, 0.05f, 0.2f};

typedef struct state {
    float *params, *grads, *first, *second;
} state;

/* The formulas of torch for one number, in double. */
static void expected_step(const bird_optimizer *how, double *p, double *m, double *v, double g,
                          double rate, double wd, int step) {
    const double b1 = (double)how->beta1, b2 = (double)how->beta2, mu = (double)how->momentum;
    g *= (double)how->grad_scale;
    if (how->kind == BIRD_SGD) {
        g += wd * *p;
        *m = step == 1 ? g : mu * *m + g;
        *p -= rate * (how->nesterov ? g + mu * *m : *m);
        return;
    }
    *p -= rate * wd * *p;
    *m = b1 * *m + (1 - b1) * g;
    *v = b2 * *v + (1 - b2) * g * g;
    *p -= rate * (*m / (1 - pow(b1, step))) /
          (sqrt(*v / (1 - pow(b2, step))) + (double)how->eps);
}

static void table(bird_params *params) {
    bird_params_init(params);
    for (int i = 0; i < TENSORS; i++) {
        const size_t dims[4] = {sizes[i]};
        int index;
        CHECK_OK(bird_params_add(params, &index, BIRD_LINEAR_BIAS, dims, err, "p%d", i));
        CHECK(index == i);
    }
}

static state start(size_t count) {
    random_state = 7;
    return (state){numbers(count, false), bird_calloc(count, 4), bird_calloc(count, 4),
                   bird_calloc(count, 4)};
}

static void check_optimizer(bird_optimizer how) {
    bird_params params;
    table(&params);
    const size_t count = params.slab_count;
    state one = start(count), three = start(count);
    double *p = bird_calloc(count, 8), *m = bird_calloc(count, 8), *v = bird_calloc(count, 8);
    double worst = 0;
    for (size_t i = 0; i < count; i++) p[i] = (double)one.params[i];
    for (int step = 1; step <= STEPS; step++) {
        float *grads = numbers(count, false);
        const bird_moments of_one = {one.params, grads, one.first, one.second};
        const bird_moments of_three = {three.params, grads, three.first, three.second};
        bird_optimizer_step(&how, of_one, &params, trainable, lr, decay, step, 1);
        bird_optimizer_step(&how, of_three, &params, trainable, lr, decay, step, 3);
        for (int t = 0; t < TENSORS; t++)
            for (size_t j = 0; trainable[t] && j < sizes[t]; j++) {
                const size_t i = params.items[t].offset + j;
                expected_step(&how, &p[i], &m[i], &v[i], (double)grads[i], (double)lr[t],
                              (double)decay[t], step);
            }
        bird_free(grads);
    }
    for (size_t i = 0; i < count; i++) worst = fmax(worst, fabs(p[i] - (double)one.params[i]));
    CHECK(worst > 0 && worst < 1e-6);
    CHECK(memcmp(one.params, three.params, count * 4) == 0);
    CHECK(memcmp(one.first, three.first, count * 4) == 0);
    CHECK(memcmp(one.second, three.second, count * 4) == 0);
    for (size_t j = 0; j < sizes[1]; j++) { /* frozen: p[] did not change */
        CHECK((double)one.params[params.items[1].offset + j] == p[params.items[1].offset + j]);
        CHECK(one.first[params.items[1].offset + j] == 0);
    }
    void *all[] = {one.params, one.grads, one.first, one.second, three.params, three.grads,
                   three.first, three.second, p, m, v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bird_free(all[i]);
    bird_params_deinit(&params);
}

static void optimizers(void) {
    bird_optimizer sgd = {.kind = BIRD_SGD, .momentum = 0.9f, .grad_scale = 1};
    bird_optimizer adamw = {.kind = BIRD_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f,
                            .grad_scale = 1};
    check_optimizer(sgd);
    sgd.nesterov = true;
    sgd.grad_scale = 0.3f;
    check_optimizer(sgd);
    sgd.nesterov = false;
    sgd.momentum = 0;
    check_optimizer(sgd);
    check_optimizer(adamw);
    adamw.grad_scale = 0.25f;
    adamw.eps = 1e-3f;
    adamw.beta2 = 0.9f;
    check_optimizer(adamw);
}

static void norm_and_average(void) {
    bird_params params;
    table(&params);
    float *grads = bird_calloc(params.slab_count, 4), average[3] = {1, 2, 3};
    const float values[3] = {3, 2, -1};
    grads[params.items[0].offset] = 3;
    grads[params.items[1].offset] = 100; /* frozen */
    grads[params.items[3].offset + sizes[3] - 1] = -4;
    CHECK(bird_grad_norm(grads, &params, trainable, 2) == 5);
    for (size_t i = 0; i < sizes[2]; i++) grads[params.items[2].offset + i] = 1e20f;
    CHECK(fabs(bird_grad_norm(grads, &params, trainable, 2) / (1e20 * sqrt((double)sizes[2])) - 1) <
          1e-7);
    grads[params.items[3].offset] = NAN;
    CHECK(isnan(bird_grad_norm(grads, &params, trainable, 2)));
    bird_ema_step(average, values, 3, 0.75f);
    CHECK(average[0] == 1.5f && average[1] == 2 && average[2] == 2);
    bird_free(grads);
    bird_params_deinit(&params);
}

int main(void) {
    linear();
    losses();
    optimizers();
    norm_and_average();
    return check_failures;
}
