#include "model/loss.h"

#include <math.h>

/* Return the loss of one row. The gradient is scaled by `share`. */
static double row_loss(float *diff, const float *logits, const float *targets, double share,
                       size_t classes) {
    double largest = logits[0], sum = 0, mass = 0, loss = 0;
    for (size_t c = 1; c < classes; c++)
        if (logits[c] > largest) largest = logits[c];
    for (size_t c = 0; c < classes; c++) {
        sum += exp(logits[c] - largest);
        mass += targets[c];
    }
    const double log_sum = largest + log(sum);
    for (size_t c = 0; c < classes; c++) {
        double log_p = logits[c] - log_sum;
        loss -= targets[c] * log_p;
        diff[c] = (float)(share * (exp(log_p) * mass - targets[c]));
    }
    return loss;
}

double bird_cross_entropy(float *diff_logits, const float *logits, const float *targets,
                          const float *weights, size_t n, size_t classes) {
    double total = 0, loss = 0;
    for (size_t row = 0; row < n; row++) total += weights ? weights[row] : 1.0;
    for (size_t row = 0; row < n; row++) {
        double share = (weights ? weights[row] : 1.0) / total;
        loss += share * row_loss(diff_logits + row * classes, logits + row * classes,
                                 targets + row * classes, share, classes);
    }
    return loss;
}
